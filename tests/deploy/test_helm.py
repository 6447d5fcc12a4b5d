"""The chart and the manifests made from it: Helm's own checks, Kubernetes' schemas, the chart's, and the program that is to take the arguments.

SPDX-License-Identifier: Apache-2.0
"""
import glob
import json
import os
import shutil
import subprocess

from case import DEPLOY, HERE, KUBERNETES, Case, harness, make_certificate, options, package, run, tool

import fake_hub  # noqa: E402, of tests/http

CHART = os.path.join(DEPLOY, "helm", "attnd")
SETS = [None] + sorted(glob.glob(os.path.join(HERE, "values", "*.yaml")))


def documents(values=None, *options, chart=CHART):
    yaml = package("yaml")
    command = [tool("helm"), "template", "test", chart, "--kube-version", "1.33.0", *(["--values", values] if values else []), *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [d for d in yaml.safe_load_all(done.stdout) if d]


def find(docs, kind):
    return [d for d in docs if d["kind"] == kind]


class Chart(Case):
    def test_helm_lint_finds_nothing(self):
        for values in SETS:
            said = self.ok(tool("helm"), "lint", "--strict", CHART, "--kube-version", "1.33.0", *(["--values", values] if values else []))
            self.assertIn("0 chart(s) failed", said)

    def test_what_it_renders_is_what_kubernetes_takes(self):
        validate = package("kubernetes_validate").validate
        count = 0
        for values in SETS:
            for document in documents(values):
                if document["kind"] == "ServiceMonitor":
                    self.hold_monitor(document)
                    continue
                for version in KUBERNETES:
                    validate(document, version, strict=True)
                    count += 1
        print(f"    {count} validations against the schemas of Kubernetes {', '.join(KUBERNETES)}")
        self.assertGreater(count, 60)

    def hold_monitor(self, document):
        """The CRD of the Prometheus operator, as much of it as is used."""
        with open(os.path.join(HERE, "servicemonitor.schema.json"), encoding="utf-8") as file:
            package("jsonschema").validate(document, json.load(file))

    def test_every_template_is_rendered_by_one_of_the_sets(self):
        kinds = {d["kind"] for values in SETS for d in documents(values)}
        self.assertEqual(
            kinds,
            {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "Ingress", "Secret"},
        )

    def test_selectors_choose_the_pods_and_names_agree(self):
        for values in SETS:
            docs = documents(values)
            deployment = find(docs, "Deployment")[0]
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            selectors = [s["spec"]["selector"] for s in find(docs, "Service")]
            selectors += [p["spec"]["selector"]["matchLabels"] for p in find(docs, "PodDisruptionBudget") + [deployment]]
            selectors += [p["spec"]["podSelector"]["matchLabels"] for p in find(docs, "NetworkPolicy")]
            for selector in selectors:
                self.assertEqual({k: labels.get(k) for k in selector}, selector, values)
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            ports = {p["name"] for p in container["ports"]}
            for service in find(docs, "Service"):
                self.assertLessEqual({p["targetPort"] for p in service["spec"]["ports"]}, ports)
            for scaler in find(docs, "HorizontalPodAutoscaler"):
                self.assertEqual(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"])
                self.assertNotIn("replicas", deployment["spec"])
            for ingress in find(docs, "Ingress"):
                back = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
                service = [s for s in find(docs, "Service") if s["metadata"]["name"] == back["name"]][0]
                self.assertIn(back["port"]["name"], [p["name"] for p in service["spec"]["ports"]])
            for monitor in find(docs, "ServiceMonitor"):
                wanted = monitor["spec"]["selector"]["matchLabels"]
                chosen = [s for s in find(docs, "Service") if wanted.items() <= s["metadata"]["labels"].items()]
                self.assertEqual([s["spec"]["ports"][0]["name"] for s in chosen], ["metrics"])

    def test_every_volume_that_is_mounted_is_there_and_every_container_is_confined(self):
        for values in SETS:
            pod = find(documents(values), "Deployment")[0]["spec"]["template"]["spec"]
            volumes = {v["name"] for v in pod.get("volumes", [])}
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertFalse(pod["automountServiceAccountToken"])
            ours = pod["containers"] + [c for c in pod.get("initContainers", []) if c["name"] == "fetch"]
            for container in ours:
                self.assertLessEqual({m["name"] for m in container.get("volumeMounts", [])}, volumes, values)
                self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
                self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
            writable = [m["name"] for m in pod["containers"][0].get("volumeMounts", []) if not m.get("readOnly")]
            self.assertEqual(writable, [], "what serves writes nowhere")
            self.assertGreater(pod["terminationGracePeriodSeconds"], pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] + 30)

    def test_the_init_container_has_the_environment_and_its_way_out(self):
        hub = os.path.join(HERE, "values", "hub.yaml")
        for endpoint, port in (("", 443), ("https://mirror.example.org", 443), ("http://mirror", 80), ("http://mirror:8090", 8090), ("https://mirror.example.org:8443/hub", 8443)):
            docs = documents(hub, "--set", "hub.endpoint=" + endpoint)
            self.assertEqual([p["port"] for p in find(docs, "NetworkPolicy")[0]["spec"]["egress"][0]["ports"]], [53, 53, port], endpoint)
        pod = find(documents(hub, "--set-json", 'extraEnv=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]'), "Deployment")[0]["spec"]["template"]["spec"]
        for container in pod["initContainers"] + pod["containers"]:
            self.assertIn({"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, container["env"])

    def test_without_a_pause_there_is_no_hook(self):
        container = find(documents(None, "--set", "preStopSeconds=0"), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]
        self.assertNotIn("lifecycle", container)

    def test_the_schema_takes_every_option_that_the_chart_does_not_set(self):
        with open(os.path.join(CHART, "values.schema.json"), encoding="utf-8") as file:
            known = set(json.load(file)["properties"]["options"]["properties"])
        others = {"host", "port", "metrics-port", "drain-timeout", "model", "api-key-file", "tls-cert", "tls-key", "unix-socket", "check", "probe", "help", "version"}
        self.assertEqual(known, options() - others)

    def test_attnd_takes_the_arguments(self):
        """With the models inside the program, and secrets made here."""
        for folder in ("keys", "tls"):
            os.mkdir(os.path.join(self.folder, folder))
        make_certificate(os.path.join(self.folder, "tls"))
        with open(os.path.join(self.folder, "keys", "api-keys"), "w", encoding="utf-8") as file:
            file.write("a-key-for-tests-1\n")
        missing, known = set(), options()
        for values in SETS:
            args = find(documents(values, "--set", "models=null"), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
            self.assertEqual(len(args) % 2, 0)
            kept = []
            for name, value in zip(args[::2], args[1::2]):
                if name[2:] in known:
                    kept += [name, value.replace("/etc/attnd", self.folder)]
                else:
                    missing.add(name)
            self.assertIn("configuration and models are fine", self.ok(harness.PROGRAM, "--check", *kept))
        self.assertLessEqual(missing, {"--api-key-file", "--tls-cert", "--tls-key"})
        if missing:
            self.skipTest("all but what this build does not have: " + ", ".join(sorted(missing)))

    def test_what_the_init_container_fetches_is_all_the_server_needs(self):
        """Both with the chart's arguments and environment, on this machine: the first with a hub of ours, the second with a cache it may not write and no hub."""
        pod = find(documents(os.path.join(HERE, "values", "hub.yaml"), "--set", "models={org/bert}"), "Deployment")[0]["spec"]["template"]["spec"]
        fetch, serve = pod["initContainers"][0], pod["containers"][0]
        cache = os.path.join(self.folder, "cache")
        os.mkdir(cache)
        hub = fake_hub.Hub()
        self.addCleanup(hub.stop)
        hub.add("org/bert", "main", fake_hub.files_of("bert"))

        def environment(container, **more):
            return dict({e["name"]: e["value"].replace("/cache", cache) for e in container["env"]}, HF_ENDPOINT=hub.url, **more)

        self.ok(harness.PROGRAM, *fetch["args"], env=environment(fetch))
        asked = len(hub.seen)
        self.assertGreater(asked, 1)
        self.ok("chmod", "-R", "a-w,a+rX", cache)
        os.chmod(self.folder, 0o755)
        program = shutil.copy(harness.PROGRAM, self.folder)  # where any user may run it
        args = serve["args"] + ["--host", "127.0.0.1", "--port", "0", "--metrics-port", "0", "--log-format", "text"]  # the later ones win
        user = {"user": 65532, "group": 65532, "extra_groups": []} if os.getuid() == 0 else {}
        with subprocess.Popen([program, *args], env=environment(serve), stderr=subprocess.PIPE, text=True, **user) as process:
            log = []
            for line in process.stderr:
                log.append(line)
                if "listening on" in line:
                    break
            process.terminate()
        self.assertIn("listening on", log[-1], "".join(log))
        self.assertEqual(len(hub.seen), asked)

    def test_a_million_is_not_a_float_and_lists_repeat(self):
        args = find(documents(os.path.join(HERE, "values", "full.yaml")), "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("134217728", args)
        self.assertEqual(args.count("--cors-origin"), 2)
        self.assertEqual(args.count("--log-format"), 1)

    def test_the_schema_refuses_what_cannot_be(self):
        for wrong in (
            "replicas=3",
            "options.max-btach=3",
            "options.port=80",
            "modelVolume.type=persistentVolumeClaim",
            "modelVolume.type=hostPath",
            "hub.cache.type=persistentVolumeClaim",
            "metrics.port=8080",
            "models={sentence-transformers/all-MiniLM-L6-v2}",
            "models={m=org/name@v1}",
            "apiKeys.keys={short}",
            "tls.certificate=x",
            "autoscaling.by=memory",
            "drainSeconds=-1",
            "service.type=ExternalName",
            "resources.limits.memory=1048576ki",
        ):
            status, said = run(tool("helm"), "template", "test", CHART, "--kube-version", "1.33.0", "--set", wrong)
            self.assertNotEqual(status, 0, wrong)
            self.assertIn("values don't meet the specifications of the schema", said, wrong)

    def test_the_notes_say_what_was_chosen(self):
        """helm shows them after an installation alone; so a copy of the chart has them in a ConfigMap."""
        copy = os.path.join(self.folder, "chart")
        shutil.copytree(CHART, copy)
        with open(os.path.join(copy, "templates", "NOTES.txt"), encoding="utf-8") as file:
            notes = file.read()
        with open(os.path.join(copy, "templates", "_notes.tpl"), "w", encoding="utf-8") as file:
            file.write('{{ define "notes" }}' + notes + "{{ end }}")
        with open(os.path.join(copy, "templates", "notes.yaml"), "w", encoding="utf-8") as file:
            file.write('kind: Notes\ntext: {{ include "notes" . | quote }}\n')
        said = [find(documents(values, chart=copy), "Notes")[0]["text"] for values in (None, os.path.join(HERE, "values", "full.yaml"))]
        self.assertIn("curl -s http://localhost:8080/v1/attention -H 'Accept", said[0])
        self.assertIn("Everybody", said[0])
        self.assertIn("curl -s -k https://localhost:8080/v1/attention -H \"Authorization: Bearer $KEY\"", said[1])
        self.assertIn("attnd_queue_length", said[1])
        self.assertNotIn("Everybody", said[1])

    def test_manifests_are_what_the_chart_makes_today(self):
        tool("helm")
        self.ok(os.path.join(DEPLOY, "kubernetes", "generate.py"), "--check")

    def test_manifests_are_what_kubernetes_takes(self):
        validate, yaml = package("kubernetes_validate").validate, package("yaml")
        with open(os.path.join(DEPLOY, "kubernetes", "kustomization.yaml"), encoding="utf-8") as file:
            names = yaml.safe_load(file)["resources"]
        self.assertGreaterEqual(len(names), 5)
        for name in names:
            with open(os.path.join(DEPLOY, "kubernetes", name), encoding="utf-8") as file:
                for document in yaml.safe_load_all(file):
                    for version in KUBERNETES:
                        validate(document, version, strict=True)

    def test_the_autoscaler_asks_for_what_the_adapter_gives(self):
        yaml = package("yaml")
        with open(os.path.join(DEPLOY, "prometheus", "adapter-rules.yml"), encoding="utf-8") as file:
            given = {rule["name"]["as"] for rule in yaml.safe_load(file)["rules"]}
        scaler = find(documents(None, "--set", "autoscaling.enabled=true"), "HorizontalPodAutoscaler")[0]
        self.assertEqual({m["pods"]["metric"]["name"] for m in scaler["spec"]["metrics"]}, given)
