"""What every package needs: errors, budgets, progress, and hooks on a model's layers."""
