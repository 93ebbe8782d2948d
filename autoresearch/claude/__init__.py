"""The researcher: a conversation with Claude that ends in a wave. The only importer of anthropic.

Reading order: prices, lines, ledger, transcript, schema, tools, client, patience, conversation;
quoting, library, results, reading, writing, toolbox, prompt, researcher.
"""
