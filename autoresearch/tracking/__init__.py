"""Where people watch a campaign: W&B. The only importer of wandb."""
