import os
class SocketPathError(Exception): pass
def prepare(path):
    if os.path.exists(path): os.unlink(path)
def set_group(path,name): pass
