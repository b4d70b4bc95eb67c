"""Forward passes under hooks: which modules run, and what their tensors mean."""
