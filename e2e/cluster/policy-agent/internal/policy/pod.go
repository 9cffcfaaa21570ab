package policy

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// pod is what policies can see of a pod that has addresses of its own.
type pod struct {
	namespace, name string
	labels          labels.Set
	addrs           []netip.Addr
	ports           map[portName]uint16
}

// portName identifies a port of a pod: the same name may stand for one port of each protocol.
type portName struct {
	name     string
	protocol ruleset.Protocol
}

// livePods returns, sorted by name, the pods that own an address of the pod network: not those of the host network
// (their traffic is the node's), and not finished ones, whose address may already be another pod's. Where two pods
// claim one address, the younger one has it.
func livePods(all []*corev1.Pod, further map[types.UID][]netip.Addr) []pod {
	byAge := slices.SortedFunc(slices.Values(all), func(a, b *corev1.Pod) int {
		return cmp.Or(
			b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name),
		)
	})
	taken := map[netip.Addr]bool{}
	var pods []pod
	for _, object := range byAge {
		if object.Spec.HostNetwork || object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
			continue
		}
		p := pod{namespace: object.Namespace, name: object.Name, labels: object.Labels, ports: namedPorts(object.Spec)}
		for _, addr := range append(addrsInStatus(object.Status), further[object.UID]...) {
			if !taken[addr] {
				taken[addr] = true
				p.addrs = append(p.addrs, addr)
			}
		}
		if len(p.addrs) > 0 {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b pod) int {
		return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	return pods
}

func addrsInStatus(status corev1.PodStatus) []netip.Addr {
	var addrs []netip.Addr
	for _, ip := range status.PodIPs {
		if addr, err := netip.ParseAddr(ip.IP); err == nil {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// namedPorts collects the ports of all containers that run as long as the pod does: native sidecars are among them.
// Where containers use one name twice, the first has it, as in Services.
func namedPorts(spec corev1.PodSpec) map[portName]uint16 {
	ports := map[portName]uint16{}
	add := func(container corev1.Container) {
		for _, port := range container.Ports {
			key := portName{port.Name, protocolOf(port.Protocol)}
			if _, taken := ports[key]; !taken && port.Name != "" {
				ports[key] = uint16(port.ContainerPort)
			}
		}
	}
	for _, container := range spec.Containers {
		add(container)
	}
	for _, container := range spec.InitContainers {
		if container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(container)
		}
	}
	return ports
}

// protocolOf translates the API's protocol, whose default is TCP.
func protocolOf(p corev1.Protocol) ruleset.Protocol {
	switch p {
	case corev1.ProtocolUDP:
		return ruleset.UDP
	case corev1.ProtocolSCTP:
		return ruleset.SCTP
	default:
		return ruleset.TCP
	}
}
