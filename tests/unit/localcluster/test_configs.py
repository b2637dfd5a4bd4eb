"""What components are told: everything below the state directory, and the proven flags."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import yaml
from cryptography import x509
from perennial_localcluster import addons, certificates, configs, prometheus, services
from perennial_localcluster.paths import Paths
from perennial_localcluster.record import Record

PATHS = Paths(state=Path("/var/lib/x"), cache=Path("/cache"))
RECORD = Record(
    "native", "/var/lib/x/kubeconfig", "node", "10.213.0.1", "10.213.0.0/16", "10.96.0.0/16", 1400
)

WITH_PROMETHEUS = replace(RECORD, addons=("prometheus",))


def test_containerd_lives_below_the_state_directory_and_lowers_no_oom_score():
    text = configs.render_containerd(PATHS)
    assert "restrict_oom_score_adj = true" in text
    roots = [line.split('"')[1] for line in text.splitlines() if '= "/' in line]
    assert all(root.startswith(("/var/lib/x/", "/usr/lib/cni")) for root in roots)


def test_kubelet_accepts_the_old_control_groups_and_swap():
    config = yaml.safe_load(configs.render_kubelet(PATHS, RECORD, "/etc/resolv.conf"))
    want = {
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "clusterDNS": ["10.96.0.10"],
    }
    assert {key: config[key] for key in want} == want


def test_pods_get_addresses_of_the_range_and_the_links_mtu():
    network = json.loads(configs.render_cni(PATHS, RECORD))
    first = network["plugins"][0]
    assert (first["type"], first["mtu"]) == ("ptp", 1400)
    assert first["ipam"]["ranges"] == [[{"subnet": "10.213.0.0/16", "gateway": "10.213.0.1"}]]


def test_kube_proxy_leaves_conntrack_alone():
    config = yaml.safe_load(configs.render_kube_proxy(PATHS, RECORD))
    assert config["conntrack"]["maxPerCore"] == 0


def test_audit_log_holds_writes_without_bodies_and_is_bounded():
    reads, questions, rest = yaml.safe_load(configs.render_audit_policy())["rules"]
    assert (reads["level"], set(reads["verbs"])) == ("None", {"get", "list", "watch"})
    assert {item["group"] for item in questions["resources"]} == {
        "authentication.k8s.io",
        "authorization.k8s.io",
    }
    assert rest == {"level": "Metadata"}
    server = next(s for s in services.build_services(PATHS, RECORD) if s.name == "kube-apiserver")
    want = {
        "--audit-log-path=/var/lib/x/logs/audit.log",
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=2",
    }
    assert want <= set(server.command)


def test_no_two_components_want_the_same_port():
    ports = [port for service in services.build_services(PATHS, WITH_PROMETHEUS) for port in service.ports]
    assert len(ports) == len(set(ports)) > 10


def test_dns_service_points_to_the_node():
    objects = dict(addons.build_objects(RECORD, "ca"))
    service = objects["/api/v1/namespaces/kube-system/services/kube-dns"]
    assert service["spec"]["clusterIP"] == "10.96.0.10"
    slices = objects["/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/kube-dns-host"]
    assert slices["endpoints"][0]["addresses"] == ["10.213.0.1"]
    assert [(port["name"], port["protocol"]) for port in slices["ports"]] == [
        ("dns", "UDP"),
        ("dns-tcp", "TCP"),
    ]


def test_metrics_api_leads_to_the_host_and_is_trusted_by_our_authority(tmp_path):
    certificates.write_all(tmp_path, RECORD)
    objects = dict(addons.build_objects(RECORD, (tmp_path / "ca.crt").read_text()))
    spec = objects["/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.metrics.k8s.io"]["spec"]
    authority = x509.load_pem_x509_certificate(base64.b64decode(spec["caBundle"]))
    certificate = x509.load_pem_x509_certificate((tmp_path / "metrics-server.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    # The name by which the API server's aggregator checks it.
    assert f"{spec['service']['name']}.{spec['service']['namespace']}.svc" in names.get_values_for_type(
        x509.DNSName
    )
    slices = objects["/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices/metrics-server-host"]
    process = next(s for s in services.build_services(PATHS, RECORD) if s.name == "metrics-server")
    assert (process.ports[0].address, process.ports[0].number) == ("10.213.0.1", slices["ports"][0]["port"])


def test_prometheus_runs_only_where_it_was_asked_for():
    def names(record):
        return {service.name for service in services.build_services(PATHS, record)}

    assert names(WITH_PROMETHEUS) - names(RECORD) == {"prometheus", "prometheus-targets"}
    more = set(dict(addons.build_objects(WITH_PROMETHEUS, "ca"))) - set(
        dict(addons.build_objects(RECORD, "ca"))
    )
    assert "/api/v1/namespaces/perennial-monitoring/services/prometheus" in more


def test_prometheus_reads_the_file_of_targets_that_its_helper_writes():
    config = yaml.safe_load(prometheus.render_config(prometheus.find_targets(PATHS)))
    files = config["scrape_configs"][0]["file_sd_configs"][0]["files"]
    helper = next(
        s for s in services.build_services(PATHS, WITH_PROMETHEUS) if s.name == "prometheus-targets"
    )
    assert helper.command[-1:] == files


def test_certificates_are_made_once_and_name_the_api_server(tmp_path):
    certificates.write_all(tmp_path, RECORD)
    first = (tmp_path / "apiserver.crt").read_bytes()
    certificates.write_all(tmp_path, RECORD)
    assert (tmp_path / "apiserver.crt").read_bytes() == first
    names = (
        x509.load_pem_x509_certificate(first)
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value
    )
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"127.0.0.1", "10.213.0.1", "10.96.0.1"}
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_kubeconfig_can_be_copied_anywhere(tmp_path):
    certificates.write_all(tmp_path, RECORD)
    config = yaml.safe_load(certificates.render_kubeconfig(tmp_path, "admin", "https://10.213.0.1:6443"))
    assert "client-key-data" in config["users"][0]["user"]
    assert str(tmp_path) not in yaml.safe_dump(config)
