package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// The world of the tests: namespaces x (team=x) and y (team=y) with pods a and b each, which listen on TCP 80 (named
// http), TCP 81, UDP 80 and SCTP 80; x/sidecar, whose native sidecar names TCP 8080 http; and addresses outside.
const outside, node = "203.0.113.10", "172.30.0.2"

var addresses = map[string][]string{
	"x/a": {"10.244.0.1", "fd00::1"}, "x/b": {"10.244.0.2", "fd00::2"}, "x/sidecar": {"10.244.0.3", "fd00::3"},
	"y/a": {"10.244.1.1", "fd00:1::1"}, "y/b": {"10.244.1.2", "fd00:1::2"},
}

func testWorld(policies ...*networkingv1.NetworkPolicy) Snapshot {
	s := Snapshot{Policies: policies}
	for _, name := range []string{"x", "y"} {
		s.Namespaces = append(s.Namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"team": name}}})
	}
	for name, ips := range addresses {
		p := testPod(name, ips...)
		http := corev1.Container{Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 80}, {Name: "http", ContainerPort: 80, Protocol: "UDP"}}}
		if name == "x/sidecar" {
			always := corev1.ContainerRestartPolicyAlways
			http.RestartPolicy, http.Ports[0].ContainerPort = &always, 8080
			p.Spec.InitContainers = []corev1.Container{http}
		} else {
			p.Spec.Containers = []corev1.Container{http}
		}
		s.Pods = append(s.Pods, p)
	}
	return s
}

func testPod(name string, ips ...string) *corev1.Pod {
	namespace, short, _ := strings.Cut(name, "/")
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: short, Labels: map[string]string{"pod": short}}}
	p.Status.Phase = corev1.PodRunning
	for _, ip := range ips {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
	}
	return p
}

func parsePolicy(t *testing.T, n int, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "x", Name: fmt.Sprintf("p%d", n)}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// parse reads "x/a > y/b:80/udp"; the protocol's default is tcp, "v6" at the end takes the pods' IPv6 addresses.
func parse(t *testing.T, text string) connection {
	t.Helper()
	fields := strings.Fields(text)
	address := func(name string) netip.Addr {
		if ips, is := addresses[name]; is {
			if fields[len(fields)-1] == "v6" {
				return netip.MustParseAddr(ips[1])
			}
			return netip.MustParseAddr(ips[0])
		}
		return netip.MustParseAddr(name)
	}
	colon := strings.LastIndex(fields[2], ":")
	port, protocol, _ := strings.Cut(fields[2][colon+1:], "/")
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	c := connection{from: address(fields[0]), to: address(fields[2][:colon]), protocol: ruleset.Protocol(protocol), port: uint16(number)}
	if protocol == "" {
		c.protocol = ruleset.TCP
	}
	return c
}

func TestPoliciesOfNamespaceX(t *testing.T) {
	for sentence, c := range map[string]struct {
		policies        []string
		passes, refused []string
	}{
		"without policies everything passes": {
			passes: []string{"x/a > x/b:80", "y/a > x/a:81/udp", "x/a > " + outside + ":443", "x/a > " + node + ":6443"},
		},
		"policyTypes defaults to Ingress alone": {
			policies: []string{`{podSelector: {}}`},
			passes:   []string{"x/a > y/a:80", "x/a > " + outside + ":443", "y/a > y/b:80"},
			refused:  []string{"x/a > x/b:80", "y/a > x/a:80", outside + " > x/a:80", "y/a > x/a:80 v6"},
		},
		"policyTypes defaults to both with an egress rule": {
			policies: []string{`{podSelector: {}, egress: [{ports: [{port: 443}]}]}`},
			passes:   []string{"x/a > " + outside + ":443"},
			refused:  []string{"x/a > " + outside + ":80", "y/a > x/a:80"},
		},
		"policyTypes Egress without rules refuses all egress and no ingress": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress]}`},
			passes:   []string{"y/a > x/a:80", outside + " > x/a:80"},
			refused:  []string{"x/a > y/a:80", "x/a > x/b:80", "x/a > " + node + ":6443", "x/a > 10.96.0.10:53/udp", "x/a > y/a:80 v6"},
		},
		"a pod always reaches itself": {
			policies: []string{`{podSelector: {}, policyTypes: [Ingress, Egress]}`},
			passes:   []string{"x/a > x/a:80", "x/a > x/a:80 v6"},
			refused:  []string{"x/a > x/b:80"},
		},
		"an empty rule allows everyone on every port": {
			policies: []string{`{podSelector: {}, ingress: [{}]}`},
			passes:   []string{"y/a > x/a:80", outside + " > x/a:1/udp", "y/a > x/a:9/sctp v6"},
		},
		"a rule without peers allows everyone on its ports only": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{protocol: UDP, port: 53}]}]}`},
			passes:   []string{"x/a > " + outside + ":53/udp", "x/a > y/a:53/udp v6"},
			refused:  []string{"x/a > " + outside + ":53", "x/a > " + outside + ":54/udp"},
		},
		"a podSelector alone means the policy's namespace": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}`},
			passes:   []string{"x/b > x/a:80", "x/b > x/a:80 v6"},
			refused:  []string{"y/b > x/a:80", "x/sidecar > x/a:80"},
		},
		"a namespaceSelector alone means all of their pods": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: "y"}}}]}]}`},
			passes:   []string{"y/a > x/a:80", "y/b > x/a:80"},
			refused:  []string{"x/b > x/a:80", outside + " > x/a:80"},
		},
		"both selectors in one peer are a conjunction": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: "y"}}, podSelector: {matchLabels: {pod: b}}}]}]}`},
			passes:   []string{"y/b > x/a:80"},
			refused:  []string{"y/a > x/a:80", "x/b > x/a:80"},
		},
		"two peers are a disjunction": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: "y"}}}, {podSelector: {matchLabels: {pod: b}}}]}]}`},
			passes:   []string{"y/a > x/a:80", "x/b > x/a:80"},
			refused:  []string{"x/sidecar > x/a:80"},
		},
		"matchExpressions select as they say": {
			policies: []string{`{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a]}]}}`},
			passes:   []string{"y/a > x/a:80"},
			refused:  []string{"y/a > x/b:80"},
		},
		"a peer that selects nobody allows nobody": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {pod: nobody}}}]}]}`},
			refused:  []string{"x/b > x/a:80", outside + " > x/a:80"},
		},
		"policies add up and a deny takes nothing away": {
			policies: []string{
				`{podSelector: {}}`,
				`{podSelector: {matchLabels: {pod: a}}, ingress: [{from: [{podSelector: {matchLabels: {pod: b}}}]}]}`,
				`{podSelector: {matchLabels: {pod: a}}, ingress: [{ports: [{port: 81}]}]}`,
			},
			passes:  []string{"x/b > x/a:80", "y/a > x/a:81"},
			refused: []string{"y/a > x/a:80", "y/a > x/b:81"},
		},
		"both ends must agree": {
			policies: []string{
				`{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}`,
				`{podSelector: {matchLabels: {pod: b}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: "y"}}}]}]}`,
			},
			passes:  []string{"x/a > x/sidecar:80", "y/a > x/b:80"},
			refused: []string{"x/a > x/b:80", "x/a > y/a:80"},
		},
		"an ipBlock has holes": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29, 203.0.113.0/30]}}]}]}`},
			passes:   []string{"x/a > 203.0.113.16:1"},
			refused:  []string{"x/a > " + outside + ":1", "x/a > 203.0.113.1:1", "x/a > 203.0.114.1:1", "x/a > y/a:80"},
		},
		"a hole of one peer does not cut another peer": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.8/29]}}, {ipBlock: {cidr: 203.0.113.10/32}}]}]}`},
			passes:   []string{"x/a > " + outside + ":1"},
			refused:  []string{"x/a > 203.0.113.9:1"},
		},
		"an ipBlock matches pods and one family only": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}`},
			passes:   []string{"x/a > y/a:80", "x/a > " + outside + ":1"},
			refused:  []string{"x/a > y/a:80 v6"},
		},
		"ipBlocks of IPv6 work alike": {
			policies: []string{`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: "fd00:1::/64", except: ["fd00:1::2/128"]}}]}]}`},
			passes:   []string{"y/a > x/a:80 v6"},
			refused:  []string{"y/b > x/a:80 v6", "y/a > x/a:80"},
		},
		"endPort makes a range, and ranges may overlap": {
			policies: []string{`{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}, {port: 85, endPort: 100}, {port: 82}]}]}`},
			passes:   []string{"y/a > x/a:80", "y/a > x/a:95", "y/a > x/a:100"},
			refused:  []string{"y/a > x/a:79", "y/a > x/a:101", "y/a > x/a:85/udp"},
		},
		"a protocol without a port is all of its ports": {
			policies: []string{`{podSelector: {}, ingress: [{ports: [{protocol: SCTP}, {port: 443}]}]}`},
			passes:   []string{"y/a > x/a:80/sctp", "y/a > x/a:443"},
			refused:  []string{"y/a > x/a:80", "y/a > x/a:443/udp"},
		},
		"a named port is another number in every pod, and TCP by default": {
			policies: []string{`{podSelector: {}, ingress: [{ports: [{port: http}]}]}`},
			passes:   []string{"y/a > x/a:80", "y/a > x/sidecar:8080", "y/a > x/a:80 v6"},
			refused:  []string{"y/a > x/sidecar:80", "y/a > x/a:8080", "y/a > x/a:80/udp"},
		},
		"a named port of egress is looked up in the destination": {
			policies: []string{`{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}`},
			passes:   []string{"x/a > x/b:80", "x/a > x/sidecar:8080"},
			refused:  []string{"x/a > x/sidecar:80", "x/a > y/a:80", "x/a > " + outside + ":80"},
		},
		"a name that nobody has is no port": {
			policies: []string{`{podSelector: {}, ingress: [{ports: [{port: nobody}]}]}`},
			refused:  []string{"y/a > x/a:80"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			var policies []*networkingv1.NetworkPolicy
			for n, spec := range c.policies {
				policies = append(policies, parsePolicy(t, n, spec))
			}
			rules, err := Compile(testWorld(policies...))
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range c.passes {
				if !passes(rules, parse(t, text)) {
					t.Errorf("%s is refused", text)
				}
			}
			for _, text := range c.refused {
				if passes(rules, parse(t, text)) {
					t.Errorf("%s passes", text)
				}
			}
		})
	}
}

func TestOnlyPodsThatOwnAnAddressAreKnown(t *testing.T) {
	hostNetwork, finished, failed, starting := testPod("x/h", "10.0.0.1"), testPod("x/s", "10.0.0.2"), testPod("x/f", "10.0.0.3"), testPod("x/p")
	hostNetwork.Spec.HostNetwork = true
	finished.Status.Phase, failed.Status.Phase = corev1.PodSucceeded, corev1.PodFailed
	rules, err := Compile(Snapshot{Pods: []*corev1.Pod{hostNetwork, finished, failed, starting, testPod("x/a", "10.0.0.4", "::ffff:10.0.0.5")}})
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{netip.MustParseAddr("10.0.0.4"), netip.MustParseAddr("10.0.0.5")}
	if len(rules.Pods) != 1 || !slices.Equal(rules.Pods[0].Addrs, want) {
		t.Errorf("got %+v", rules.Pods)
	}
}

func TestAddressesThatStatusDoesNotHaveYetCountAsWell(t *testing.T) {
	starting, started := testPod("x/a"), testPod("x/b", "10.0.0.2")
	starting.UID, started.UID = "1", "2"
	rules, err := Compile(Snapshot{
		Pods: []*corev1.Pod{starting, started},
		Addrs: map[types.UID][]netip.Addr{
			"1": {netip.MustParseAddr("10.0.0.1")}, "2": {netip.MustParseAddr("10.0.0.2")}, "gone": {netip.MustParseAddr("10.0.0.3")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rules.Pods) != 2 || rules.Pods[0].Addrs[0].String() != "10.0.0.1" || len(rules.Pods[1].Addrs) != 1 {
		t.Errorf("got %+v", rules.Pods)
	}
}

func TestOfTwoPodsWithOneAddressTheYoungerHasIt(t *testing.T) {
	older, younger := testPod("x/a", "10.0.0.1"), testPod("x/b", "10.0.0.1")
	older.CreationTimestamp = metav1.NewTime(time.Unix(1, 0))
	younger.CreationTimestamp = metav1.NewTime(time.Unix(2, 0))
	rules, err := Compile(Snapshot{Pods: []*corev1.Pod{older, younger}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rules.Pods) != 1 || rules.Pods[0].Name != "x/b" {
		t.Errorf("got %+v", rules.Pods)
	}
}

func TestTheOrderOfObjectsDoesNotMatter(t *testing.T) {
	s := testWorld(parsePolicy(t, 1, `{podSelector: {}}`), parsePolicy(t, 2, `{podSelector: {}, ingress: [{ports: [{port: http}]}]}`))
	first, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(s.Pods)
	slices.Reverse(s.Policies)
	second, err := Compile(s)
	if err != nil {
		t.Fatal(err)
	}
	if first.Nftables() != second.Nftables() {
		t.Errorf("got:\n%s\nand:\n%s", first.Nftables(), second.Nftables())
	}
}

func TestWhatIsNotUnderstoodAllowsNothing(t *testing.T) {
	for _, spec := range []string{
		`{podSelector: {matchExpressions: [{key: pod, operator: Maybe}]}}`,
		`{podSelector: {}, ingress: [{from: [{}]}]}`,
		`{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: pod, operator: Maybe}]}}]}]}`,
		`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0}}]}]}`,
		`{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/8, except: [all]}}]}]}`,
	} {
		rules, err := Compile(testWorld(parsePolicy(t, 1, spec)))
		if err == nil || !strings.Contains(err.Error(), "NetworkPolicy x/p1: spec.") {
			t.Errorf("%s: the error is %v", spec, err)
		}
		if passes(rules, parse(t, "y/a > x/a:80")) {
			t.Errorf("%s: passes", spec)
		}
	}
}
