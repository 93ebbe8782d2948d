"""What W&B's server holds of a campaign, seen and set right from the login node."""
