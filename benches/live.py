"""Workloads `live` and `soak` of benches/run: what a change takes from the file that brings it to the receivers, and whether
that stays so for as long as one likes."""
import json, os, random, re, signal, statistics, subprocess, sys, threading, time

from servers import broker_lines, feed_file, say, workspace

INTERVAL = 1.05  # seconds between two files: against a daemon that looks every second, files come at every part of it
OLDER = 10  # older extracts of them, for the backfill
HEAD = "统一社会信用代码,企业名称,法定代表人,企业类型,注册资本,成立日期,经营范围,登记机关,住所,登记状态,更新时间"
SENT = re.compile(rb"@(\d+)\.(\d+)#")  # with which file a record was written, and when, in its address


def quantile(latencies, share):
    latencies = sorted(latencies)
    return latencies[int(len(latencies) * share)] if latencies else float("nan")


class Receiver(threading.Thread):
    """`huiliu receive --follow` of one subscriber; file and latency of every record that was written for the bench."""

    def __init__(self, servers, ws, subscriber):
        super().__init__(daemon=True)
        self.latencies, self.subscriber = [], subscriber
        feed = f"{subscriber}.enterprise"
        command = [servers.bench.BIN, "receive", "--feed", feed, "--trust", ws / ".huiliu/dev-ca.pem", "--to", "ndjson:-",
                   "--state", ws / f"{subscriber}.cursor.json", "--follow"]
        environment = {**os.environ, "HUILIU_RECEIVE_FROM": servers.broker._replace(path="/huiliu-bench").geturl()}
        self.log = open(ws / f"{subscriber}.log", "w")
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=self.log, env=environment)
        self.start()

    def run(self):
        for line in self.process.stdout:
            now = time.time()
            sent = SENT.search(line)
            if sent:
                self.latencies.append((int(sent.group(1)), now - int(sent.group(2)) / 1000))

    def since(self, nth):
        """Latencies of what was written with this file or later ones."""
        return [latency for of, latency in list(self.latencies) if of >= nth]

    def end(self):
        self.process.terminate()
        self.process.wait(30)


def definitions(servers, subscribers):
    ws = workspace(servers, "live", broker_lines(servers) + "serve: { listen: 127.0.0.1:17170, workers: 3 }\n")
    connector = ws / "connectors/market-regulation.yaml"
    text = connector.read_text(encoding="utf-8")
    # What was taken goes aside: else the daemon would look through an ever longer list of files every second.
    root = "  root: outbox/market-regulation\n"
    if root not in text:
        sys.exit("live: connectors/market-regulation.yaml is not what this workload was made for")
    text = text.replace(root, root + "  settle: { archive: taken }\n")
    columns = "".join(f"      {name}: text\n" for name in HEAD.split(","))
    connector.write_text(text.rstrip("\n") + "\n  changes:\n    title: 变更\n    path: BG_*.csv\n    format: { kind: csv, encoding: utf-8 }\n"
                         "    key: [统一社会信用代码]\n    updated: 更新时间\n    extract: append\n    columns:\n" + columns, encoding="utf-8")
    mapping = ws / "mappings/market-regulation"
    (mapping / "changes.enterprise.sql").write_text((mapping / "enterprise.enterprise.sql").read_text(encoding="utf-8"), encoding="utf-8")
    (ws / "pipelines/live.yaml").write_text("version: 1\ntitle: 变更\nfrom: market-regulation.changes\ninto: [enterprise]\nschedule: '* * * * * *'\n",
                                            encoding="utf-8")
    (ws / "pipelines/feeds/bench.enterprise.yaml").unlink()
    for subscriber in subscribers:
        feed_file(ws, subscriber)
    return ws


def offer(ws, rows, nth):
    """A file of changes, there all at once; its time lies back, so that nobody waits whether it still grows."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now + 8 * 3600))  # the city's time
    text = "".join(",".join([*row[:8], f"山东省青岛市市南区漓江路1号@{nth}.{int(now * 1000)}#", row[9], stamp]) + "\n" for row in rows)
    box = ws / "outbox/market-regulation"
    part = box / f".BG_{nth}.part"
    part.write_text(HEAD + "\n" + text, encoding="utf-8")
    os.utime(part, (now - 3600, now - 3600))
    part.rename(box / f"BG_{nth:08}.csv")


def resident(pid):
    """MiB in memory now."""
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return float("nan")


class Scene:
    """The daemon, the receivers, and the changes."""

    def __init__(self, servers, options, subscribers, rate):
        rate = round(rate * INTERVAL)
        self.servers, self.rate, self.nth, self.random = servers, rate, 0, random.Random(7)
        self.subscribers = [f"s{n:02}" for n in range(subscribers)]
        self.receivers, self.daemon, self.gone = [], None, None
        servers.fresh("ours")
        self.ws = definitions(servers, self.subscribers)
        bench = servers.bench
        path, _ = bench.w1(options.base)
        with open(path, encoding="gb18030") as f:
            rows = [line.rstrip("\n").split(",") for line in f][1:]
        # Whole lines with a code as it is written: no quoted cells, no small letters. Each enterprise once.
        whole = [row for row in rows if len(row) == 11 and (row[0].isupper() or row[0].isdigit())]
        self.rows = list({row[0]: row for row in whole}.values())
        if rate > len(self.rows):
            sys.exit(f"live: --rate is at most {len(self.rows)}")
        bench.offer(self.ws, path, "QYDJ_20261101.csv")
        self.huiliu("run", "enterprise-registration", "--no-release")
        self.huiliu("feed", "provision", "--password-dir", str(self.ws / "passwords"))
        self.huiliu("feed", "release")
        self.receivers = [Receiver(servers, self.ws, subscriber) for subscriber in self.subscribers]
        self.log = self.ws / "serve.log"
        self.begin()

    def begin(self):
        log = open(self.log, "a")
        self.daemon = subprocess.Popen([str(self.servers.bench.BIN), "--dir", str(self.ws), "serve"], stdout=log, stderr=log)

    def huiliu(self, *words):
        command = [str(self.servers.bench.BIN), "--dir", str(self.ws), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode not in (0, 3):
            sys.exit(f"{' '.join(words)}: exit {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def change(self):
        """One file of changes. The daemon and the receivers must be there."""
        if self.daemon.poll() is not None:
            sys.exit(f"the daemon ended with {self.daemon.returncode}: {self.log.read_text()[-2000:]}")
        for receiver in self.receivers:
            if receiver.process.poll() is not None and receiver.subscriber != self.gone:
                sys.exit(f"receiver {receiver.subscriber} ended: {(self.ws / (receiver.subscriber + '.log')).read_text()[-2000:]}")
        self.nth += 1
        offer(self.ws, self.random.sample(self.rows, self.rate), self.nth)

    def drive(self, name, seconds):
        """Changes every second; latencies of all that the receivers saw of them."""
        first, start, watch = self.nth + 1, time.time(), self.servers.bench.Watch()
        files = round(seconds / INTERVAL)
        for nth in range(files):
            time.sleep(max(0, start + nth * INTERVAL - time.time()))
            self.change()
        there = [receiver for receiver in self.receivers if receiver.subscriber != self.gone]
        # A record that changes twice while its feed works comes once.
        wanted, patience = files * self.rate * 0.9, time.time() + 60
        while min(len(receiver.since(first)) for receiver in there) < wanted and time.time() < patience:
            time.sleep(0.5)
        each = [receiver.since(first) for receiver in there]
        everything = [latency for latencies in each for latency in latencies]
        say(name, subscribers=len(there), changes=files * self.rate, received=len(everything), fewest=min(map(len, each)),
            p50=quantile(everything, 0.5), p99=quantile(everything, 0.99), worst_p99=max(quantile(latencies, 0.99) for latencies in each), load=os.getloadavg()[0],
            stolen=watch.read()[1])
        self.tell_each_file(name, first)
        if min(map(len, each)) < wanted / 2:
            sys.exit(f"{name}: changes did not arrive: {self.log.read_text()[-2000:]}")
        return everything

    def tell_each_file(self, name, first):
        """What came of each file, as a table beside the workspace: where a p99 came from."""
        files = {}
        for receiver in self.receivers:
            for nth, latency in receiver.latencies:
                if nth >= first:
                    files.setdefault(nth, []).append(latency)
        with open(self.ws / f"{name}.csv", "w") as table:
            table.write("second,records,p50,p99,max\n")
            for nth, latencies in sorted(files.items()):
                second, (p50, p99) = (nth - first) * INTERVAL, (quantile(latencies, share) for share in (0.5, 0.99))
                table.write(f"{second:.1f},{len(latencies)},{p50:.2f},{p99:.2f},{max(latencies):.2f}\n")

    def killed(self):
        """The daemon, killed at a backfill and started again: seconds until the backfill's next commit."""
        sql = "select coalesce(sum(chunks), 0) from huiliu.file where dataset like '%#%'"
        commits = lambda: int(self.servers.sql(sql, self.servers.database("ours")))
        before, patience = commits(), time.time() + 60
        self.huiliu("backfill", "resume", "1")
        while commits() == before and time.time() < patience:
            time.sleep(0.1)
        self.daemon.kill()
        self.daemon.wait()
        time.sleep(1)  # the server notices, and ends what the dead one had begun
        before, start = commits(), time.time()
        self.begin()
        while commits() == before:
            if time.time() > start + 60:
                sys.exit(f"live: the backfill did not go on: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)
        return {"goes_on_after": time.time() - start}

    def end(self):
        for receiver in self.receivers:
            if receiver.process.poll() is None:
                receiver.end()
        if self.daemon and self.daemon.poll() is None:
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(60)


def live(servers, options):
    """Quiet halves stand before, between and after what is compared with them: machines drift, and neighbours drift least."""
    scene = Scene(servers, options, options.subscribers or 20, options.rate or 1000)
    half = options.seconds / 2
    try:
        # What the first snapshot of all subscribers left to be written to disks and vacuumed does not count.
        scene.drive("live_warm", min(60, options.seconds))
        first = scene.drive("live", half)
        blocked = one_blocked(servers, scene, options.seconds)
        second = scene.drive("live_again", half)
        # Extracts of the days before, of the same enterprises: what 补数 is for. Most of what they say is overruled.
        for day in range(OLDER):
            older, _ = servers.bench.w1(options.base, day + 1)
            (scene.ws / "outbox/market-regulation/older").mkdir(exist_ok=True)
            servers.bench.offer(scene.ws, older, f"older/QYDJ_202610{day + 1:02}.csv")
        scene.huiliu("backfill", "start", "enterprise-registration", "--files", "older/QYDJ_*.csv")
        filled = scene.drive("live_beside_backfill", options.seconds)
        status = json.loads(scene.huiliu("--json", "backfill", "status"))
        if status["state"] == "running":
            scene.huiliu("backfill", "pause", "1")
        third = scene.drive("live_at_last", half)
        p99 = lambda *phases: quantile([latency for phase in phases for latency in phase], 0.99)
        say("live", p99=p99(first, second, third), blocked_ratio=p99(blocked) / p99(first, second), backfill_ratio=p99(filled) / p99(second, third),
            backfill=status["state"], backfilled=status["rows_done"])
        if status["state"] == "running":
            say("live_killed", **scene.killed())
    finally:
        scene.end()


def one_blocked(servers, scene, seconds):
    """What the others see while one subscriber is away and its queue is full; then it comes back."""
    away = scene.receivers[0]
    scene.gone = away.subscriber
    away.end()
    policy = {"pattern": f"^huiliu\\.feed\\.{away.subscriber}\\.", "definition": {"max-length": 1}, "priority": 10, "apply-to": "queues"}
    servers.manage("PUT", "/api/policies/huiliu-bench/blocked", policy)
    blocked = scene.drive("live_one_blocked", seconds)
    servers.manage("DELETE", "/api/policies/huiliu-bench/blocked")
    scene.receivers[0] = Receiver(servers, scene.ws, away.subscriber)
    scene.gone = None
    start, last = time.time(), scene.nth
    while not scene.receivers[0].since(last):
        if time.time() > start + 900:
            sys.exit(f"live: {away.subscriber} got nothing after its queue was free: {scene.log.read_text()[-2000:]}")
        time.sleep(0.5)
    say("live_unblocked", seconds=time.time() - start, records=len(scene.receivers[0].latencies))
    time.sleep(5)
    return blocked


def slope(samples):
    """Least squares: growth a minute of (second, value) pairs."""
    samples = [(second, value) for second, value in samples if value == value]
    if len({second for second, _ in samples}) < 2:
        return 0.0
    fit = statistics.linear_regression([second / 60 for second, _ in samples], [value for _, value in samples])
    return fit.slope


def soak(servers, options):
    """Steady changes; a line a minute, and a verdict: neither memory nor latency may grow."""
    scene = Scene(servers, options, options.subscribers or 1, options.rate or 2000)
    minutes, files, memory, latencies = options.minutes, round(60 / INTERVAL), [], []
    try:
        scene.drive("soak_warm", 10)
        start = time.time()
        for minute in range(minutes):
            first = scene.nth + 1
            for nth in range(files):
                time.sleep(max(0, start + (minute * files + nth) * INTERVAL - time.time()))
                scene.change()
                memory.append((time.time() - start, resident(scene.daemon.pid)))
            last, patience = scene.nth, time.time() + 5
            while min(len(receiver.since(last)) for receiver in scene.receivers) < scene.rate * 0.9 and time.time() < patience:
                time.sleep(0.1)
            seen = [latency for receiver in scene.receivers for latency in receiver.since(first)]
            latencies.append((minute, quantile(seen, 0.5), quantile(seen, 0.99)))
            for receiver in scene.receivers:
                receiver.latencies.clear()
            say("soak_minute", minute=minute + 1, received=len(seen), share=len(seen) / (files * scene.rate * len(scene.receivers)), p50=latencies[-1][1],
                p99=latencies[-1][2], rss_mib=memory[-1][1], receiver_rss_mib=max(resident(r.process.pid) for r in scene.receivers), load=os.getloadavg()[0])
            if not seen:
                sys.exit(f"soak: nothing arrived in minute {minute + 1}: {scene.log.read_text()[-2000:]}")
        verdict(scene, minutes, memory, latencies)
    finally:
        scene.end()


def verdict(scene, minutes, memory, latencies):
    """The first quarter warms caches up and does not count; what grows over the rest by more than noise fails."""
    settled = [(second, mib) for second, mib in memory if second >= minutes * 15]
    growth = slope(settled) * minutes * 0.75
    middle = [(minute * 60, p50) for minute, p50, _ in latencies]
    slower = slope(middle) * minutes
    steady_memory = growth <= max(32.0, 0.1 * settled[0][1])
    steady_latency = slower <= max(0.5, 0.25 * middle[0][1])
    say("soak", minutes=minutes, rate=round(scene.rate / INTERVAL), receivers=len(scene.receivers), p50=statistics.median(p50 for _, p50, _ in latencies),
        p99=max(p99 for _, _, p99 in latencies), p50_per_minute=slope(middle), rss_mib=settled[-1][1], rss_mib_per_minute=slope(settled),
        verdict="steady" if steady_memory and steady_latency else "GROWS")
    if not (steady_memory and steady_latency):
        sys.exit(f"soak: memory grew by {growth:.0f} MiB, the median latency by {slower:.2f} s")
