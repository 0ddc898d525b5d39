"""Inspecting a model: is it backdoored?"""
