"""The tests.

None of them may depend on proxies that the environment names; what runs in a process started by a
test inherits this.
"""

import os

for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]
