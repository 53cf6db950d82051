"""
C{http://fastcar.localhost/}: fastcar itself, as a client of it sees it.
"""
