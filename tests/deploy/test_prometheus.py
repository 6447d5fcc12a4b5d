"""Prometheus' rules and Grafana's dashboard: promtool, Grafana's own model of a dashboard, and every query against a Prometheus that scrapes two live servers.

SPDX-License-Identifier: Apache-2.0
"""
import enum
import json
import os
import re
import socket
import threading
import time
import typing
import urllib.parse

from case import DEPLOY, Case, free_port, get, make_certificate, package, read, run, tool, wait_until

RULES = os.path.join(DEPLOY, "prometheus")
TRAFFIC_SECONDS = 8
TEXT = {"text": "The cat sat on the mat.", "output": ["attentions"]}


def targets():
    """(panel, query) of the dashboard."""
    for panel in json.loads(read("grafana", "attnd.json"))["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"] + " " + target["refId"], target["expr"]


def rules(name):
    return [rule for group in package("yaml").safe_load(read("prometheus", name))["groups"] for rule in group["rules"]]


class Rules(Case):
    def test_promtool_takes_the_files(self):
        self.ok(tool("promtool"), "check", "config", os.path.join(RULES, "prometheus.yml"))
        self.ok(tool("promtool"), "check", "rules", "--lint=all", "--lint-fatal", os.path.join(RULES, "rules.yml"), os.path.join(RULES, "alerts.yml"))

    def test_every_alert_fires_when_it_should_and_not_otherwise(self):
        self.assertIn("SUCCESS", self.ok(tool("promtool"), "test", "rules", os.path.join(RULES, "alerts_test.yml")))
        tests = package("yaml").safe_load(read("prometheus", "alerts_test.yml"))["tests"]
        fired = {check["alertname"] for test in tests for check in test.get("alert_rule_test", []) if check["exp_alerts"]}
        alerts = {rule["alert"] for rule in rules("alerts.yml")}
        self.assertEqual(fired, alerts)
        print(f"    {len(alerts)} alerts, {len(rules('rules.yml'))} recording rules")

    def test_the_tests_notice_an_alert_that_never_fires_or_has_no_threshold(self):
        yaml = package("yaml")
        for name in ("rules.yml", "alerts_test.yml"):
            with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                file.write(read("prometheus", name))
        document = yaml.safe_load(read("prometheus", "alerts.yml"))
        for i, rule in enumerate(rules("alerts.yml")):
            loose, replaced = re.subn(r"(<|>|==) [0-9.]+$", ">= 0", rule["expr"])
            self.assertEqual(replaced, 1, rule["alert"])
            for expr in (f"({rule['expr']}) and vector(1) == 2", loose):
                changed = json.loads(json.dumps(document))
                changed["groups"][0]["rules"][i]["expr"] = expr
                with open(os.path.join(self.folder, "alerts.yml"), "w", encoding="utf-8") as file:
                    yaml.safe_dump(changed, file)
                status, _ = run(tool("promtool"), "test", "rules", os.path.join(self.folder, "alerts_test.yml"))
                self.assertNotEqual(status, 0, f"{rule['alert']} as {expr}")


class Dashboard(Case):
    def test_grafana_knows_every_field_and_its_type(self):
        """Through Grafana's generated model and back: a field it does not know is lost on the way, one of another type is found by its annotations."""
        package("grafana_foundation_sdk")
        from grafana_foundation_sdk.cog import plugins
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.models.dashboard import Dashboard as Model

        plugins.register_default_plugins()
        document = json.loads(read("grafana", "attnd.json"))
        model = Model.from_json(document)
        self.assertEqual(list(lost(document, json.loads(JSONEncoder().encode(model)))), [])
        found = list(wrong_types(model))
        self.assertEqual([f for f in found if isinstance(f, str)], [])
        print(f"    {len(found)} typed fields")
        self.assertGreater(len(found), 300)

    def test_panels_have_ids_of_their_own_and_do_not_overlap(self):
        panels = json.loads(read("grafana", "attnd.json"))["panels"]
        self.assertEqual(len({p["id"] for p in panels}), len(panels))
        cells = [(x, y) for p in panels for x in range(p["gridPos"]["x"], p["gridPos"]["x"] + p["gridPos"]["w"])
                 for y in range(p["gridPos"]["y"], p["gridPos"]["y"] + p["gridPos"]["h"])]
        self.assertEqual(len(set(cells)), len(cells))
        self.assertLess(max(x for x, _ in cells), 24)


def lost(before, after, path=""):
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in after:
                yield f"{path}/{key} is not known"
            else:
                yield from lost(value, after[key], f"{path}/{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, pair in enumerate(zip(before, after)):
            yield from lost(*pair, f"{path}/{i}")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def fits(value, kind):
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind in (typing.Any, object) or isinstance(kind, typing.TypeVar):
        return True
    if origin is typing.Union:
        return any(fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    if origin is list:
        return isinstance(value, list) and all(fits(v, parts[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(v, parts[1]) for v in value.values())
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in [member.value for member in kind]
    if isinstance(value, dict) and hasattr(kind, "from_json"):  # left as it was read
        return not list(lost(value, kind.from_json(value).to_json()))
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, origin or kind)


def wrong_types(value, path=""):
    """A text for each field that is not of its type, None for each that is."""
    if isinstance(value, (list, dict)):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from wrong_types(part, f"{path}/{key}")
    elif hasattr(value, "to_json"):
        for name, kind in typing.get_type_hints(type(value)).items():
            part = getattr(value, name, None)
            yield None if fits(part, kind) else f"{path}/{name}: {part!r} is no {kind}"
            yield from wrong_types(part, f"{path}/{name}")


class Live(Case):
    """Two servers with some traffic, good and bad, and a real Prometheus."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        program = tool("prometheus")
        sides = [free_port(), free_port()]
        cls.servers = [cls.serve("--metrics-port", str(side)) for side in sides]
        config = read("prometheus", "prometheus.yml")
        discovery = re.search(r"    dns_sd_configs:\n(?:      .*\n)+", config)[0]
        static = "    static_configs:\n" + "".join(f"      - targets: ['127.0.0.1:{s}']\n        labels: {{namespace: n, pod: p{i}}}\n" for i, s in enumerate(sides))
        config = config.replace(discovery, static).replace("interval: 15s", "interval: 1s")
        for name, text in (("prometheus.yml", config), ("rules.yml", read("prometheus", "rules.yml")), ("alerts.yml", read("prometheus", "alerts.yml"))):
            with open(os.path.join(cls.folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        cls.url = f"http://127.0.0.1:{free_port()}"
        cls.start(program, f"--config.file={cls.folder}/prometheus.yml", f"--storage.tsdb.path={cls.folder}/data", "--web.listen-address=" + cls.url[7:])
        wait_until(lambda: get(cls.url + "/-/ready")[0] == 200)
        cls.make_traffic()

    @classmethod
    def make_traffic(cls):
        until = time.monotonic() + TRAFFIC_SECONDS

        def one(server):
            while time.monotonic() < until:
                server.post("/v1/attention", TEXT)
                server.post("/v1/attention", {"tet": 1})
                server.post("/v1/tokenize", {"text": "hello"})
                server.post("/v1/estimate", TEXT)
                server.get("/v1/nothing")
                with socket.create_connection(("127.0.0.1", server.port)) as s:  # a client that goes
                    s.sendall(b"POST /v1/attention HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
                time.sleep(0.1)

        threads = [threading.Thread(target=one, args=(server,)) for server in cls.servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(2)

    def query(self, text):
        status, body = get(self.url + "/api/v1/query?" + urllib.parse.urlencode({"query": text}))
        answer = json.loads(body)
        self.assertEqual((status, answer["status"]), (200, "success"), f"{text}: {answer}")
        return answer["data"]["result"]

    def numbers(self, text):
        return [float(row["value"][1]) for row in self.query(text)]

    def test_every_query_of_the_dashboard_gives_data(self):
        count = 0
        for panel, query in targets():
            query = query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
            self.assertNotIn("$", query)
            values = self.numbers(query)
            self.assertTrue(values, f"{panel}: nothing for {query}")
            self.assertTrue(all(v == v for v in values), f"{panel}: not a number for {query}")
            count += 1
        print(f"    {count} queries of the dashboard, each with data")
        self.assertGreater(count, 25)

    def test_the_variables_of_the_dashboard_have_values(self):
        for variable in json.loads(read("grafana", "attnd.json"))["templating"]["list"]:
            if variable["type"] == "query":
                series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
                self.assertTrue(self.query(f'count by ({label}) ({series.replace("$job", ".*")})'), variable["name"])

    def test_every_recording_rule_has_a_value_and_every_rule_is_healthy(self):
        for rule in rules("rules.yml"):
            self.assertTrue(self.numbers(rule["record"]), rule["record"])
        groups = json.loads(get(self.url + "/api/v1/rules")[1])["data"]["groups"]
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        self.assertEqual(set(health.values()), {"ok"}, health)
        self.assertEqual(len(health), len(rules("rules.yml")) + len(rules("alerts.yml")))

    def test_alerts_and_dashboard_name_only_series_that_there_are(self):
        certificate, key = make_certificate(self.folder)
        side = free_port()
        self.serve("--tls-cert", certificate, "--tls-key", key, "--metrics-port", str(side))
        text = get(f"http://127.0.0.1:{side}/metrics")[1].decode()
        there = set()
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE):
            there |= {name + end for end in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
        queries = [query for _, query in targets()] + [rule["expr"] for name in ("rules.yml", "alerts.yml") for rule in rules(name)]
        named = {name for query in queries for name in re.findall(r"\b(?:attnd|process)_[a-z_]+", query)}
        self.assertEqual(named - there, set())
        self.assertGreater(len(named), 20)

    def test_the_adapters_rules_give_a_figure_for_each_pod(self):
        for rule in package("yaml").safe_load(read("prometheus", "adapter-rules.yml"))["rules"]:
            self.assertTrue(self.query(rule["seriesQuery"]))
            query = rule["metricsQuery"].replace("<<.LabelMatchers>>", 'namespace="n",pod=~"p0|p1"').replace("<<.GroupBy>>", "pod")
            self.assertNotIn("<<", query)
            rows = self.query(query)
            self.assertEqual({row["metric"]["pod"] for row in rows}, {"p0", "p1"})
            self.assertTrue(all(float(row["value"][1]) >= 0 for row in rows))

    def test_when_a_server_goes_it_is_noticed(self):
        self.assertEqual(self.numbers("sum(attnd_ready)"), [2.0])
        self.assertEqual(self.servers[1].stop(), 0)
        wait_until(lambda: self.numbers('min(up{job="attnd"})') == [0.0])
        wait_until(lambda: self.query('ALERTS{alertname="AttndDown",alertstate="pending"}'))
