"""compose.yaml: the specification's own loader, and that the files and options it names are there.

SPDX-License-Identifier: Apache-2.0
"""
import os

from case import DEPLOY, Case, free_port, harness, package, read, tool

COMPOSE = os.path.join(DEPLOY, "compose.yaml")


class Compose(Case):
    def setUp(self):
        self.services = package("yaml").safe_load(read("compose.yaml"))["services"]

    def test_the_compose_specification_takes_it(self):
        self.assertIn("grafana:", self.ok(tool("compose-check"), COMPOSE))

    def test_every_folder_and_file_that_is_mounted_is_there(self):
        mounts = [v.split(":")[0] for s in self.services.values() for v in s.get("volumes", []) if v.startswith(".")]
        self.assertGreaterEqual(len(mounts), 3)
        for path in mounts + [s["build"]["context"] for s in self.services.values() if "build" in s]:
            self.assertTrue(os.path.exists(os.path.join(DEPLOY, path)), path)

    def test_every_container_is_confined_and_every_image_has_a_version(self):
        for name, service in self.services.items():
            self.assertTrue(service["read_only"], name)
            self.assertEqual(service["cap_drop"], ["ALL"], name)
            self.assertIn("mem_limit", service, name)
            self.assertRegex(service["image"], r":v?\d+\.\d+\.\d+$")

    def test_the_health_check_is_one_that_a_running_server_passes(self):
        environment = {k: str(v) for k, v in self.services["attnd"]["environment"].items()}
        side = free_port()
        server = harness.Server(environment=dict(environment, ATTND_METRICS_PORT=str(side)))
        try:
            kind, program, *probe = self.services["attnd"]["healthcheck"]["test"]
            self.assertEqual((kind, program), ("CMD", "attnd"))
            self.assertIn(environment["ATTND_METRICS_PORT"], probe[1])
            self.ok(harness.PROGRAM, *[a.replace(environment["ATTND_METRICS_PORT"], str(side)) for a in probe])
        finally:
            self.assertEqual(server.stop(), 0)

    def test_grafana_finds_the_dashboard_and_prometheus_where_they_are_mounted(self):
        yaml = package("yaml")
        provider = yaml.safe_load(read("grafana", "provisioning", "dashboards", "attnd.yaml"))["providers"][0]
        targets = [v.split(":")[1] for v in self.services["grafana"]["volumes"]]
        self.assertIn(provider["options"]["path"] + "/attnd.json", targets)
        self.assertEqual(self.services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], provider["options"]["path"] + "/attnd.json")
        source = yaml.safe_load(read("grafana", "provisioning", "datasources", "prometheus.yaml"))["datasources"][0]
        self.assertEqual(source["url"], "http://prometheus:9090")
        scrape = yaml.safe_load(read("prometheus", "prometheus.yml"))["scrape_configs"][0]["dns_sd_configs"][0]
        self.assertIn(scrape["names"][0], self.services)
        self.assertEqual(str(scrape["port"]), self.services["attnd"]["environment"]["ATTND_METRICS_PORT"])
