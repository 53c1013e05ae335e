"""vLLM as the engine of a LLaVA: a server of its own beside the command, asked by OpenAI's protocol."""
