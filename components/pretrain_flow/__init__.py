"""Pretrain the flow."""
