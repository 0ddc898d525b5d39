"""Screening pictures: do they carry a trigger?"""
