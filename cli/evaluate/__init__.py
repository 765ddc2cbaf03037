"""`ethos eval`: runs, scores, reports, reproduction."""
