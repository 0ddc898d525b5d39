"""Screening samples: do they carry a trigger?"""
