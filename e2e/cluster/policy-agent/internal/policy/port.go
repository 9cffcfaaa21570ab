package policy

import (
	"cmp"
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// portsOf compiles the `ports` list of a rule. An empty list is every port; names are looked up in the pods that the
// connection may be addressed to, and a name that none of them has is no port.
func portsOf(specified []networkingv1.NetworkPolicyPort, destinations []pod) []ruleset.Port {
	if len(specified) == 0 {
		return []ruleset.Port{ruleset.AnyPort{}}
	}
	numbered := map[ruleset.Protocol][]ruleset.PortRange{}
	var endpoints ruleset.Endpoints
	for _, port := range specified {
		protocol := ruleset.TCP
		if port.Protocol != nil {
			protocol = protocolOf(*port.Protocol)
		}
		switch {
		case port.Port == nil:
			numbered[protocol] = append(numbered[protocol], everyPort)
		case port.Port.Type == intstr.String:
			endpoints = append(endpoints, lookUp(port.Port.StrVal, protocol, destinations)...)
		default:
			r := ruleset.PortRange{First: uint16(port.Port.IntVal), Last: uint16(port.Port.IntVal)}
			if port.EndPort != nil {
				r.Last = uint16(*port.EndPort)
			}
			numbered[protocol] = append(numbered[protocol], r)
		}
	}
	var ports []ruleset.Port
	for _, protocol := range []ruleset.Protocol{ruleset.TCP, ruleset.UDP, ruleset.SCTP} {
		if ranges := numbered[protocol]; slices.Contains(ranges, everyPort) {
			ports = append(ports, ruleset.Ranges{Protocol: protocol})
		} else if len(ranges) > 0 {
			ports = append(ports, ruleset.Ranges{Protocol: protocol, Ports: merge(ranges)})
		}
	}
	if len(endpoints) > 0 {
		ports = append(ports, unique(endpoints))
	}
	return ports
}

// everyPort stands for a protocol without a port; port 0 cannot be specified.
var everyPort = ruleset.PortRange{First: 0, Last: 65535}

func lookUp(name string, protocol ruleset.Protocol, destinations []pod) ruleset.Endpoints {
	var found ruleset.Endpoints
	for _, p := range destinations {
		if number, has := p.ports[portName{name, protocol}]; has {
			for _, addr := range p.addrs {
				found = append(found, ruleset.Endpoint{Addr: addr, Protocol: protocol, Port: number})
			}
		}
	}
	return found
}

// merge sorts the ranges and joins those that overlap: nftables refuses overlapping intervals in a set.
func merge(ranges []ruleset.PortRange) []ruleset.PortRange {
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b ruleset.PortRange) int { return cmp.Compare(a.First, b.First) })
	merged := sorted[:1]
	for _, r := range sorted[1:] {
		if last := &merged[len(merged)-1]; r.First <= last.Last {
			last.Last = max(last.Last, r.Last)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}

// unique removes endpoints that were named twice.
func unique(endpoints ruleset.Endpoints) ruleset.Endpoints {
	slices.SortFunc(endpoints, func(a, b ruleset.Endpoint) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return slices.Compact(endpoints)
}
