"""Which of two answers is better: judged by models and by people, with their agreement."""
