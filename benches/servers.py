"""The bars that need servers; `benches/run pg|amqp|audit|live|soak` measures them.

`pg`    The first night of W1 and the next one (0.5 % changed) with the registers in PostgreSQL, `--rounds` times, each round
        right after the named peer (polars and adbc's COPY, by hand), on the same server: the ratio of the medians counts.
        Between two runs the server vacuums what the first left: it would do so within the minute, beside one run or another.
        `cpu` are processor seconds of the program and of its server's processes, which other work on the machine does not
        change; a server elsewhere shows none.
`amqp`  A signed feed of everything over RabbitMQ, and the peer (psycopg, fastavro, cryptography, pika) after it.
`audit` `--entries` entries appended to the audit log in PostgreSQL, durable when answered; the walk along all of it; kill -9 while
        more are appended, after which every answered one must be there and the chain hold.
`live`  A daemon, `--subscribers` feeds over RabbitMQ, one receiver each; `--rate` changed records a second, in a file about every
        second. A record's latency runs from the file's appearance to the receiver's line. For `--seconds` with one queue full and
        its receiver gone, for `--seconds` beside a backfill of older extracts of the same enterprises; before, between and after,
        for half as long each, undisturbed: what each is compared with is its two neighbours. If the backfill is not done by then,
        kill -9 in the middle of it, and the seconds from the next start to its next commit.
`soak`  The same with one receiver, for `--minutes`: a line a minute with memory and latency, and a verdict whether they grow."""
import json, os, random, signal, statistics, subprocess, sys, threading, time, urllib.parse, urllib.request
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
PEERS = ["polars", "adbc-driver-postgresql", "pyarrow", "psycopg2-binary", "fastavro", "pika", "cryptography"]
DATABASES = {"ours": "huiliu_bench", "peer": "huiliu_bench_peer"}


def say(name, **figures):
    shown = " ".join(f"{key}={value:.2f}" if isinstance(value, float) else f"{key}={value}" for key, value in figures.items())
    print(f"{name} {shown}", flush=True)


class Servers:
    """PostgreSQL and RabbitMQ, with databases and a virtual host of our own."""

    def __init__(self, bench):
        self.bench = bench
        if not os.environ.get("HUILIU_TEST_POSTGRES"):
            up = subprocess.run([bench.ROOT / "deploy/dev/services", "up", "postgres", "rabbitmq"], capture_output=True, text=True, check=True)
            for line in up.stdout.splitlines():
                name, _, value = line.removeprefix("export ").partition("=")
                os.environ[name] = value.strip("'")
        self.postgres = urllib.parse.urlsplit(os.environ["HUILIU_TEST_POSTGRES"])
        self.broker = urllib.parse.urlsplit(os.environ.get("HUILIU_TEST_RABBITMQ", ""))
        self.api = os.environ.get("HUILIU_TEST_RABBITMQ_API", "")
        self.psql = next((str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin/psql"), reverse=True)), "psql")

    def database(self, whose, scheme="postgres"):
        # On one machine TLS protects nothing, and both sides would pay for it.
        return self.postgres._replace(scheme=scheme, path=f"/{DATABASES[whose]}", query="sslmode=disable").geturl()

    def sql(self, statement, database=None):
        url = database or self.postgres.geturl()
        done = subprocess.run([self.psql, url, "-qtAX", "-v", "ON_ERROR_STOP=1", "-c", statement], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"psql: {done.stderr}")
        return done.stdout.strip()

    def fresh(self, whose):
        self.sql(f"drop database if exists {DATABASES[whose]} with (force)")
        self.sql(f"create database {DATABASES[whose]}")
        self.sql("checkpoint")

    def settle(self, whose):
        """What a run left to be vacuumed is vacuumed now: the server's own time for that falls within one run or another by chance."""
        self.sql("vacuum (analyze)", self.database(whose))
        self.sql("checkpoint")

    def vhost(self):
        """An empty virtual host; its address."""
        self.manage("DELETE", "/api/vhosts/huiliu-bench", missing=True)
        self.manage("PUT", "/api/vhosts/huiliu-bench", {})
        user = self.broker.username
        self.manage("PUT", f"/api/permissions/huiliu-bench/{user}", {"configure": ".*", "write": ".*", "read": ".*"})
        return self.broker._replace(path="/huiliu-bench").geturl()

    def manage(self, method, path, body=None, missing=False):
        api = urllib.parse.urlsplit(self.api)
        manager = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        base = f"{api.scheme}://{api.hostname}:{api.port}"
        manager.add_password(None, base, api.username, api.password)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(base + path, data, {"content-type": "application/json"}, method=method)
        try:
            return opener.open(request, timeout=30).read()
        except urllib.error.HTTPError as error:
            if not (missing and error.code == 404):
                raise


class ServerTime(threading.Thread):
    """Processor seconds of the PostgreSQL processes that serve one database, as far as they run here."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.mark, self.seen, self.over = f" {database} ", {}, threading.Event()
        self.start()

    def run(self):
        rounds = 0
        while not self.over.wait(0.1):
            if rounds % 5 == 0:
                for entry in Path("/proc").iterdir():
                    if entry.name.isdigit() and entry.name not in self.seen and self.serves(entry):
                        self.seen[entry.name] = 0.0
            rounds += 1
            self.look()

    def serves(self, entry):
        try:
            line = (entry / "cmdline").read_text()
        except OSError:
            return False
        return line.startswith("postgres:") and self.mark in line

    def look(self):
        for pid in self.seen:
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            self.seen[pid] = (int(fields[11]) + int(fields[12])) / TICK

    def end(self):
        self.look()
        self.over.set()
        self.join()
        return sum(self.seen.values())


def timed(name, command, database, env=None, **more):
    """Runs a command; its wall seconds, what it says, and a line about it."""
    server, watch = ServerTime(database), sys.modules["__main__"].Watch()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, stolen = watch.read()
    reader.join()
    if os.waitstatus_to_exitcode(status) not in (0, 3):
        sys.exit(f"{name}: exit {os.waitstatus_to_exitcode(status)}: {errors[0].decode()[-2000:]}")
    figures = more.pop("figures")(out) if "figures" in more else {}
    say(name, seconds=seconds, cpu=usage.ru_utime + usage.ru_stime, cpu_server=server.end(), peak_rss_mib=usage.ru_maxrss // 1024,
        stolen=f"{stolen:.0f}%", load=os.getloadavg()[0], **figures)
    return seconds, out


def shared(bench, name):
    found = next((p for p in (bench.ROOT / f"../shared/bench/{name}", bench.ROOT / f"../../shared/bench/{name}") if p.exists()), None)
    return found or sys.exit(f"benches/run: ../shared/bench/{name} is not here; it is the peer")


def peer(servers, name, *more):
    """The peer's script, with this machine's addresses in it, and the command to run it."""
    bench = servers.bench
    python = subprocess.run([bench.ROOT / "deploy/dev/python-env", bench.DATA / "peers", *PEERS], check=True, capture_output=True, text=True)
    script = bench.DATA / name
    text = shared(bench, name).read_text(encoding="utf-8")
    for theirs in ("postgresql://root:x@127.0.0.1:5432/bench", "postgresql://root:x@127.0.0.1/bench"):
        text = text.replace(theirs, servers.database("peer", "postgresql"))
    if servers.broker.hostname:
        broker = servers.broker._replace(path="/huiliu-bench").geturl()
        text = text.replace("pika.ConnectionParameters('127.0.0.1')", f"pika.URLParameters({broker!r})")
    script.write_text(text, encoding="utf-8")
    return [python.stdout.strip(), script, *more]


def workspace(servers, name, more=""):
    ws = servers.bench.workspace(name)
    (ws / "huiliu.yaml").write_text(f"version: 1\nstore: {servers.database('ours')}\n{more}", encoding="utf-8")
    return ws


def counted(known):
    def figures(out):
        counts = json.loads(out)["runs"][0]["registers"][0]
        if counts["quarantined"] != known["bad_uscc"] + known["bad_date"]:
            sys.exit(f"quarantined {counts['quarantined']}, the generator put in {known['bad_uscc'] + known['bad_date']}")
        return {name: counts[name] for name in ("new", "changed", "unchanged", "quarantined")}
    return figures


def night(servers, ws, nth, change):
    bench = servers.bench
    path, known = bench.w1(1_000_000, change)
    bench.offer(ws, path, f"QYDJ_{nth}.csv")
    command = [bench.BIN, "--dir", ws, "--json", "run", "enterprise-registration", "--no-release"]
    name = "pg_w1" if nth == 1 else "pg_next"
    return timed(name, command, DATABASES["ours"], figures=counted(known))[0]


def pg(servers, options):
    bench = servers.bench
    path, _ = bench.w1(1_000_000)
    bench.w1(1_000_000, 0.5)
    command = peer(servers, "peer_polars.py", path)
    theirs, first, following = [], [], []
    for _ in range(options.rounds):
        servers.fresh("peer")
        theirs.append(timed("pg_peer", command, DATABASES["peer"])[0])
        servers.settle("peer")
        servers.fresh("ours")
        ws = workspace(servers, "pg")
        first.append(night(servers, ws, 1, 0))
        servers.settle("ours")
        following.append(night(servers, ws, 2, 0.5))
    middle = [statistics.median(seconds) for seconds in (theirs, first, following)]
    say("pg", rounds=options.rounds, peer=middle[0], w1=middle[1], next=middle[2], ratio=middle[0] / middle[1], next_speedup=middle[1] / middle[2])


def audit(servers, options):
    """Appending to the audit log, group by group, and walking along it; then once more with kill -9 in the middle."""
    bench = servers.bench
    servers.fresh("ours")
    ws = workspace(servers, "audit")
    append = [str(bench.BIN), "--dir", str(ws), "audit", "append"]
    verify = [bench.BIN, "--dir", ws, "--json", "audit", "verify"]
    line = b'{"action":"console.look_up","detail":"enterprise by key 5f2b6c0d9e8a7b61 for account %d, purpose 17"}\n'
    count = options.entries
    lines = b"".join(line % n for n in range(count))
    watch = sys.modules["__main__"].Watch()
    done = subprocess.run(append, input=lines, capture_output=True)
    seconds, stolen = watch.read()
    if done.returncode or int(done.stdout.split()[-1]) != count:
        sys.exit(f"audit: {done.stderr.decode()[-2000:]}")
    say("audit_append", entries=count, seconds=seconds, entries_per_s=count / seconds, commits=len(done.stdout.split()), stolen=f"{stolen:.0f}%")
    report = lambda out: {"faults": len(json.loads(out)["faults"]), "walked": json.loads(out)["entries"]}
    seconds, out = timed("audit_verify", verify, DATABASES["ours"], figures=report)
    if json.loads(out)["faults"]:
        sys.exit("audit_verify: the log is not what it was")
    say("audit", verify_per_s=json.loads(out)["entries"] / seconds)
    process = subprocess.Popen(append, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    writer = threading.Thread(target=pour, args=(process.stdin, lines))
    writer.start()
    durable = [int(process.stdout.readline()) for _ in range(10)][-1]
    process.kill()
    process.wait()
    writer.join()
    kept = int(servers.sql("select count(*) from huiliu.audit where action = 'other.console.look_up'", servers.database("ours"))) - count
    if kept < durable:
        sys.exit(f"audit: {durable} were answered, {kept} are there")
    seconds, out = timed("audit_verify_after_kill", verify, DATABASES["ours"], figures=report)
    if json.loads(out)["faults"]:
        sys.exit("audit: the chain does not hold after kill -9")
    say("audit_kill", answered=durable, kept=kept)


def pour(stdin, lines):
    try:
        stdin.write(lines)
    except BrokenPipeError:
        pass  # that is what killing it is about


def feed_file(ws, subscriber, every="1s"):
    (ws / f"pipelines/feeds/{subscriber}.enterprise.yaml").write_text(
        f"version: 1\nsubscriber: {subscriber}\nregister: enterprise\npurpose: 性能测量\nbasis: 测量\n"
        "approved: { by: 数据资源处, on: 2026-03-01 }\nvalid: { from: 2026-03-01, until: 2099-12-31 }\n"
        "fields: [uscc, name, type_code, legal_representative, registered_capital_yuan, established_on, region_code, address, status_code]\n"
        f"mask: {{ legal_representative: name }}\ndelivery: {{ outlet: rabbitmq, every: {every}, batch: {{ records: 5000, bytes: 4MiB }} }}\n",
        encoding="utf-8")


def broker_lines(servers):
    return f"broker: {servers.vhost()}\nbroker_api: {servers.api}\n"


def amqp(servers, options):
    bench = servers.bench
    path, _ = bench.w1(1_000_000)
    servers.fresh("peer")
    subprocess.run([str(part) for part in peer(servers, "peer_polars.py", path)], check=True, stdout=subprocess.DEVNULL)
    servers.sql("create view hand_enterprise as select * from pol_enterprise", servers.database("peer"))
    servers.fresh("ours")
    ws = workspace(servers, "amqp", broker_lines(servers))
    night(servers, ws, 1, 0)
    command = peer(servers, "peer_feed.py")
    ours, theirs = [], []
    for nth in range(options.rounds):
        feed_file(ws, f"bench{nth}")
        subprocess.run([bench.BIN, "--dir", ws, "feed", "provision", "--password-dir", ws / "passwords", f"bench{nth}.enterprise"], check=True, stdout=subprocess.DEVNULL)
        release = [bench.BIN, "--dir", ws, "--json", "feed", "release", f"bench{nth}.enterprise"]
        report = lambda out: {key: json.loads(out)[0][key] for key in ("released", "batches", "durable")}
        seconds, out = timed("amqp_feed", release, DATABASES["ours"], figures=report)
        ours.append(json.loads(out)[0]["durable"] / seconds)
        if json.loads(out)[0]["durable"] != json.loads(out)[0]["released"]:
            sys.exit("amqp_feed: not everything was delivered")
        _, out = timed("amqp_peer", command, DATABASES["peer"])
        theirs.append(float(out.split()[-2]))
    middle = [statistics.median(rates) for rates in (ours, theirs)]
    say("amqp", rounds=options.rounds, records_per_s=middle[0], peer_records_per_s=middle[1], ratio=middle[0] / middle[1])


def measure(bench, what, options):
    servers = Servers(bench)
    if "pg" in what:
        pg(servers, options)
    if "amqp" in what:
        amqp(servers, options)
    if "audit" in what:
        audit(servers, options)
    if "live" in what:
        import live
        live.live(servers, options)
    if "soak" in what:
        import live
        live.soak(servers, options)
