// Package ruleset models what the packet filter of one node has to do for NetworkPolicies, and writes it as an nftables
// transaction. It knows addresses and ports, and nothing of Kubernetes.
package ruleset

import (
	"net/netip"
)

// Ruleset is the complete filter of a node. A pod's new connection passes only if the pod that opens it may send it and
// the pod that it is addressed to may receive it; packets of established connections always pass.
type Ruleset struct {
	// Pods holds every pod whose addresses are known; no address occurs twice.
	Pods []Pod
	// Policies holds the allow rules that pods refer to by index.
	Policies []Policy
	// Unknown says what happens to new connections from and to an address of PodCIDRs that none of Pods has.
	Unknown Unknown
	// PodCIDRs are the ranges that pod addresses are taken from.
	PodCIDRs []netip.Prefix
}

// Unknown is the treatment of pod addresses that the filter has not been told about yet.
type Unknown int

const (
	// RefuseUnknown closes the window between a pod's first packet and the moment its address is known.
	RefuseUnknown Unknown = iota
	// PassUnknown leaves that window open, as many network plugins do.
	PassUnknown
)

// Pod is a pod's own two fences. An empty list means that the pod is not isolated in that direction; otherwise a
// connection passes the fence if any of the listed policies allows it, or if the pod talks to itself.
type Pod struct {
	// Name is namespace/name; it is used in comments only.
	Name    string
	Addrs   []netip.Addr
	Egress  []PolicyIndex
	Ingress []PolicyIndex
}

// PolicyIndex is a position in Ruleset.Policies.
type PolicyIndex int

// Policy is one direction of one NetworkPolicy: a connection that matches any of its rules passes.
type Policy struct {
	// Name is namespace/name; it is used in comments only.
	Name      string
	Direction Direction
	Rules     []Rule
}

// Direction is seen from the pod that a policy selects.
type Direction int

const (
	// Egress policies look at the destination of connections that the pod opens.
	Egress Direction = iota
	// Ingress policies look at the source of connections that the pod accepts.
	Ingress
)

// Rule matches a connection whose other end is the peer and whose destination port is among the ports.
type Rule struct {
	Peer Peer
	Port Port
}

// Peer is one of AnyPeer, Addrs and Block.
type Peer interface{ isPeer() }

// AnyPeer is every address of both families.
type AnyPeer struct{}

// Addrs is a list of single addresses.
type Addrs []netip.Addr

// Block is a range of addresses without the ranges cut out of it.
type Block struct {
	CIDR   netip.Prefix
	Except []netip.Prefix
}

func (AnyPeer) isPeer() {}
func (Addrs) isPeer()   {}
func (Block) isPeer()   {}

// Port is one of AnyPort, Ranges and Endpoints.
type Port interface{ isPort() }

// AnyPort is every port of every protocol, and every protocol that has no ports.
type AnyPort struct{}

// Ranges are ports of one protocol; none of them overlap. An empty list is every port of the protocol.
type Ranges struct {
	Protocol Protocol
	Ports    []PortRange
}

// PortRange is a closed interval.
type PortRange struct{ First, Last uint16 }

// Endpoints are the places that a named port stands for: the name means another number in every pod.
type Endpoints []Endpoint

// Endpoint is one port of one address.
type Endpoint struct {
	Addr     netip.Addr
	Protocol Protocol
	Port     uint16
}

func (AnyPort) isPort()   {}
func (Ranges) isPort()    {}
func (Endpoints) isPort() {}

// Protocol is a transport protocol in nftables' spelling.
type Protocol string

// The protocols that a NetworkPolicy can name.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)
