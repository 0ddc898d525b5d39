"""Keys for tests: made anew in each run, none is stored."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from torchserve_fire_build.signing.signing_key import public_key_of

KEY = Ed25519PrivateKey.generate()
OTHER_KEY = Ed25519PrivateKey.generate()
PUBLIC = public_key_of(KEY)
OTHER_PUBLIC = public_key_of(OTHER_KEY)
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
