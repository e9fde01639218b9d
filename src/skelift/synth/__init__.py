"""Rendered people and hands: skinned bodies in motion-capture poses, before perspective cameras."""
