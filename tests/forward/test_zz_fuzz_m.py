import random, sys
from h2.errors import ErrorCodes
from h2.events import *
from tests.forward.http2 import *
from tests.forward.support import *
from hyperframe.frame import *

def check_response(got, want, version11=True):
    """None: incomplete; else (status, ok)"""
    head, sep, rest = got.partition(b"\r\n\r\n")
    if not sep: return None
    status = int(head.split()[1])
    if b"transfer-encoding: chunked" in head.lower():
        try: body = dechunked(got)
        except Exception: return None
    else:
        m = [l for l in head.lower().split(b"\r\n") if l.startswith(b"content-length:")]
        n = int(m[0].split(b":")[1])
        if len(rest) < n: return None
        body = rest
    return status, body

class Fuzz(HTTP2TestCase):
    def one(self, seed):
        r = random.Random(seed)
        opts = {}
        if r.random() < .5: opts["max_connections_per_origin"] = r.choice([1,2,3])
        if r.random() < .3: opts["max_connections"] = r.choice([1,2])
        if r.random() < .3: opts["max_age"] = r.choice([5.0, 20.0])
        if r.random() < .3: opts["idle_timeout"] = 3.0
        if r.random() < .3: opts["response_timeout"] = 4.0
        if r.random() < .3: opts["stall_timeout"] = 4.0
        self.start(**opts)
        if r.random() < .3: self.proxy.capacity = 8192
        if r.random() < .7: self.settings = {3: r.choice([1,2,5,10])}
        if r.random() < .2: self.settings[4] = r.choice([0, 5000, 20000])
        clients = {}   # id -> (peer, method, path)
        n = 0
        seen = {}
        hosts = [b"a.test"] if r.random() < .6 else [b"a.test", b"b.test"]
        for step in range(r.choice([40, 120])):
            act = r.random()
            if act < .35:
                for _ in range(r.choice([1,1,3,12])):
                    c = self.secure()
                    method = r.choice([b"GET", b"POST"])
                    body = b"" if method == b"GET" else b"body-%d-" % n + b"x" * r.choice([0, 10, 100000])
                    kind = r.random()
                    if body and kind < .3:
                        data = request(b"/%d" % n, CHUNKED, method=method, host=r.choice(hosts), body=b"%x\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (len(body), body))
                    else:
                        data = request(b"/%d" % n, method=method, host=r.choice(hosts), body=body)
                    if r.random() < .1: c.pause()
                    c.unsent = data
                    clients[n] = (c, method, body)
                    n += 1
                if r.random() < .5: self.proxy.reactor.settle()
            elif act < .75:
                self.proxy.reactor.settle(); self._adopt()
                live = [o for o in self.origins if not o.peer.closed and o.goaway() is None and not getattr(o,'dead',False)]
                if live:
                    o = r.choice(live)
                    open_ = [s for s in o.open if s in o.h2.streams]
                    a = r.random()
                    try:
                        if a < .5 and open_:
                            s = r.choice(open_); p = dict(o.fields_of(s))[b":path"]
                            o.respond(s, p + b"!" * r.choice([0, 5]), head=[(b":status", b"200")], trailers=r.choice([None, None, [(b"x-t", b"1")]]))
                        elif a < .58 and open_:
                            s = r.choice(open_)
                            o.respond(s, dict(o.fields_of(s))[b":path"], ended=False)
                            o.half = getattr(o, 'half', []) + [s]
                        elif a < .68 and getattr(o, 'half', []):
                            s = o.half.pop()
                            if s in o.h2.streams and r.random() < .7: o.more(s, b"", True)
                            elif s in o.h2.streams: o.reset(s, 2)
                        elif a < .80 and open_:
                            o.reset(r.choice(open_), r.choice([0, 1, 2, 7, 7, 7, 8, 11, 200]))
                        elif a < .84:
                            last = r.choice([0, *(o.requests or [0]), 2**31-1])
                            if last <= getattr(o, 'last', 2**31-1):
                                o.last = last
                                o.go_away(last, r.choice([0,0,2]))
                        elif a < .90:
                            o.settings(max_concurrent_streams=r.choice([0,1,3,10,100]))
                        elif a < .93:
                            o.settings(initial_window_size=r.choice([0, 5000, 65535, 1<<20]))
                        elif a < .96:
                            o.peer.close()
                        elif a < .97:
                            o.write(PingFrame(0, opaque_data=b"x"*8))
                            o.write_bytes(b"\0"*30); o.run()
                        elif a < .98:
                            o.peer.end()
                        elif open_:
                            s = r.choice(open_)
                            o._answered.add(s)
                            o.write(HeadersFrame(s, data=o.encode([(b":status", b"200"), (b"Bad", b"x")]), flags=["END_HEADERS"])); o.run()
                    except Exception as e:
                        if type(e).__module__.startswith("h2"): o.peer.close(); o.dead = True
                        else: raise
            elif act < .82:
                if clients:
                    c = r.choice(list(clients.values()))[0]
                    if not c.closed: 
                        if r.random() < .5: c.pause()
                        else: c.resume()
            elif act < .87:
                cid = r.choice(list(clients)) if clients else None
                if cid is not None and not clients[cid][0].closed:
                    clients[cid][0].close(); del clients[cid]
            elif act < .92:
                try: self.elapse(r.choice([.25, 1, 6]))
                except Exception as e:
                    if not type(e).__module__.startswith("h2"): raise
                    self.origins = [o for o in self.origins if o.h2.state_machine.state.name != 'CLOSED']
            else:
                self.quiet()
        # end: all origins now answer everything
        for round_ in range(400):
            self.quiet()
            for c, *_ in clients.values():
                if not c._reading: c.resume()
            busy = False
            for o in self.origins:
                if o.peer.closed or getattr(o,'dead',False): continue
                try:
                    if 'x' not in o.__dict__:
                        o.x=1; o.settings(max_concurrent_streams=100, initial_window_size=1<<20)
                    for s in list(getattr(o, 'half', [])):
                        o.half.remove(s)
                        if s in o.h2.streams: o.more(s, b"", True)
                    for s in o.open:
                        if s in o.h2.streams and o.has_ended(s):
                            o.respond(s, dict(o.fields_of(s))[b":path"])
                            busy = True
                        elif s not in o.h2.streams: o._answered.add(s)
                except Exception as e:
                    if type(e).__module__.startswith("h2"): o.peer.close(); o.dead = True
                    else: raise
            done = all(c.closed or check_response(c.received, None) for c, *_ in clients.values())
            if done: break
            if not busy:
                self.quiet(1)
        self.quiet()
        # at most once for POST answered; who was seen
        count = {}
        for o in self.origins:
            for s in o.requests:
                f = dict(o.fields_of(s))
                if f[b":method"] == b"POST" :
                    count.setdefault(f[b":path"], []).append((o, s))
        stats = {}
        for k, (c, method, body) in clients.items():
            got = check_response(c.received, None)
            if got is None:
                assert c.closed or c.ended, (seed, k, "hanging", (lambda d: (d._exchange, d._paused, d._full, d._closing, d.deadline, d._receive, d._wire._reading, {k: getattr(d._exchange,k) for k in ("_waiting","_ended","_handle","_sends","_replay","request_complete","_next_hop") if k!="_replay"} if d._exchange else None))(c.transport.protocol), self.proxy.reactor.seconds(), c.closed, c.ended, c.transport.connected, c.transport.disconnecting, c.transport.buffered, c._reading, c in self.proxy.reactor.peers, method, len(body), c.received[:200], c.transport, self.proxy.pool, c.unsent[:20])
                stats["cut"] = stats.get("cut", 0) + 1
                continue
            status, b = got
            stats[status] = stats.get(status, 0) + 1
            if status == 200:
                assert b.rstrip(b"!") == b"/%d" % k, (seed, k, b[:100])
        for o in self.origins:
            for s in o.requests:
                f = dict(o.fields_of(s)); k = int(f[b":path"][1:])
                if o.has_ended(s) and k in clients:
                    assert o.content_of(s) == clients[k][2], (seed, k, len(o.content_of(s)), len(clients[k][2]))
        for c, *_ in clients.values():
            if not c.closed: c.close()
        self.quiet(1); self.quiet(45)
        total = self.proxy.pool.stats().total
        assert (total.active, total.waiting, total.opening, total.leaving) == (0,0,0,0), (seed, total, stats)
        errs = self.flushLoggedErrors()
        assert not errs, (seed, errs)
        self.proxy.close()
        return stats
    def quiet(self, t=0):
        for _ in range(50):
            try:
                if t: self.elapse(t)
                else: self.run_origins()
                return
            except Exception as e:
                if not type(e).__module__.startswith("h2"): raise
                for o in self.origins:
                    if o.h2.state_machine.state.name == 'CLOSED' and not getattr(o,'dead',False):
                        o.dead = True; o.peer.close()
                        o.receive = lambda d: None
        raise AssertionError("never quiet")
    def test_fuzz(self):
        total = {}
        start, count = int(sys.argv[-1].split(":")[0]) if ":" in sys.argv[-1] else 0, 0
        import os
        a, b = map(int, os.environ["SEEDS"].split("-"))
        for seed in range(a, b):
            import faulthandler; faulthandler.dump_traceback_later(40, exit=True, file=open('/tmp/w/M/hang','w')); open('/tmp/w/M/seed','w').write(str(seed))
            try: st = self.one(seed)
            except BaseException as e:
                print("SEED", seed, type(e), str(e)[:3500])
                import traceback; traceback.print_exc(limit=-3)
                self.flushLoggedErrors()
                continue
            for k, v in st.items(): total[k] = total.get(k, 0) + v
        print(total)
