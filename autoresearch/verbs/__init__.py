"""One module per verb, each with `main(options) -> int`. See `cli` for what each takes."""
