"""Keys in an HSM, by PKCS#11 v3.0 (extra `hsm`): a signer, and a master key that derives.

A message or a fixed input goes into the token, and a signature or a MAC comes out. The key never leaves it.
"""

from itron_core.hsm.master_key import Pkcs11DerivedKeys, Pkcs11MasterKey
from itron_core.hsm.signer import Pkcs11Signer

__all__ = ["Pkcs11DerivedKeys", "Pkcs11MasterKey", "Pkcs11Signer"]
