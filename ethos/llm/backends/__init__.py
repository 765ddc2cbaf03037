"""Implementations of the `LanguageModel` protocol: transformers, LoRA adapters, endpoints, scripted replies."""
