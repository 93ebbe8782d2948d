"""What people read: a View of the campaign as terminal tables, results.tsv and progress.png."""
