"""Telling callers apart: API keys, signed tokens, and the roles that either gives."""
