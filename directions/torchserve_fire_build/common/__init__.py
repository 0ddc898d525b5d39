"""What every room needs: errors, budgets, progress, and hooks on a model's layers."""
