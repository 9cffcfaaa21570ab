package policy

import (
	"net/netip"
	"slices"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// connection is a new connection as the filter sees it, after kube-proxy has translated its destination.
type connection struct {
	from, to netip.Addr
	protocol ruleset.Protocol
	port     uint16
}

// passes evaluates a ruleset as its documentation defines it, independently of nftables.
func passes(r ruleset.Ruleset, c connection) bool {
	fence := func(own, other netip.Addr, policiesOf func(ruleset.Pod) []ruleset.PolicyIndex) bool {
		i := slices.IndexFunc(r.Pods, func(p ruleset.Pod) bool { return slices.Contains(p.Addrs, own) })
		if i < 0 {
			inRange := slices.ContainsFunc(r.PodCIDRs, func(p netip.Prefix) bool { return p.Contains(own) })
			return !inRange || r.Unknown == ruleset.PassUnknown
		}
		policies := policiesOf(r.Pods[i])
		return len(policies) == 0 || slices.Contains(r.Pods[i].Addrs, other) ||
			slices.ContainsFunc(policies, func(p ruleset.PolicyIndex) bool {
				return slices.ContainsFunc(r.Policies[p].Rules, func(rule ruleset.Rule) bool {
					return matchesPeer(rule.Peer, other) && matchesPort(rule.Port, c)
				})
			})
	}
	return fence(c.from, c.to, func(p ruleset.Pod) []ruleset.PolicyIndex { return p.Egress }) &&
		fence(c.to, c.from, func(p ruleset.Pod) []ruleset.PolicyIndex { return p.Ingress })
}

func matchesPeer(peer ruleset.Peer, other netip.Addr) bool {
	switch peer := peer.(type) {
	case ruleset.Addrs:
		return slices.Contains(peer, other)
	case ruleset.Block:
		return peer.CIDR.Contains(other) &&
			!slices.ContainsFunc(peer.Except, func(e netip.Prefix) bool { return e.Contains(other) })
	default:
		return true
	}
}

func matchesPort(port ruleset.Port, c connection) bool {
	switch port := port.(type) {
	case ruleset.Ranges:
		return port.Protocol == c.protocol && (len(port.Ports) == 0 ||
			slices.ContainsFunc(port.Ports, func(r ruleset.PortRange) bool { return r.First <= c.port && c.port <= r.Last }))
	case ruleset.Endpoints:
		return slices.Contains(port, ruleset.Endpoint{Addr: c.to, Protocol: c.protocol, Port: c.port})
	default:
		return true
	}
}
