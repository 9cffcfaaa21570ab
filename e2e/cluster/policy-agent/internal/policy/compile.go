// Package policy compiles NetworkPolicies (networking.k8s.io/v1) into a packet filter. It is pure: the same objects give
// the same ruleset. The rules are those of the API's own documentation
// (https://kubernetes.io/docs/concepts/services-networking/network-policies/).
package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"sallyport.dev/e2e/cluster/policy-agent/internal/ruleset"
)

// Snapshot is everything that decides who may talk to whom, in any order.
type Snapshot struct {
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
	// Addrs are addresses that pods have beside those in their status, by the pods' UIDs: status comes late.
	Addrs map[types.UID][]netip.Addr
}

// Compile returns the pods and policies of the filter; how unknown addresses are treated is left to the caller.
//
// The error names the parts of policies that are not understood (the API server lets none of these in). The ruleset is
// valid even then, and the tighter for it: such a peer matches nobody, and such a pod selector selects every pod.
func Compile(s Snapshot) (ruleset.Ruleset, error) {
	pods := livePods(s.Pods, s.Addrs)
	compiled := ruleset.Ruleset{}
	for _, p := range pods {
		compiled.Pods = append(compiled.Pods, ruleset.Pod{Name: p.namespace + "/" + p.name, Addrs: p.addrs})
	}
	world := world{pods: pods, namespaces: map[string]labels.Set{}}
	for _, namespace := range s.Namespaces {
		world.namespaces[namespace.Name] = namespace.Labels
	}
	policies := slices.SortedFunc(slices.Values(s.Policies), func(a, b *networkingv1.NetworkPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var problems []error
	for _, policy := range policies {
		subjects, err := world.subjects(policy)
		if err != nil {
			problems = append(problems, problem(policy, "spec.podSelector", err))
		}
		for _, direction := range directions(policy.Spec) {
			rules, err := world.rules(policy, direction, subjects)
			if err != nil {
				problems = append(problems, err)
			}
			index := ruleset.PolicyIndex(len(compiled.Policies))
			compiled.Policies = append(compiled.Policies, ruleset.Policy{
				Name: policy.Namespace + "/" + policy.Name, Direction: direction, Rules: rules,
			})
			for _, subject := range subjects {
				if direction == ruleset.Egress {
					compiled.Pods[subject].Egress = append(compiled.Pods[subject].Egress, index)
				} else {
					compiled.Pods[subject].Ingress = append(compiled.Pods[subject].Ingress, index)
				}
			}
		}
	}
	return compiled, errors.Join(problems...)
}

func problem(policy *networkingv1.NetworkPolicy, field string, err error) error {
	return fmt.Errorf("NetworkPolicy %s/%s: %s: %w", policy.Namespace, policy.Name, field, err)
}

// directions applies the default of policyTypes: Ingress always, Egress if there are egress rules.
func directions(spec networkingv1.NetworkPolicySpec) []ruleset.Direction {
	var ds []ruleset.Direction
	if len(spec.PolicyTypes) == 0 {
		ds = append(ds, ruleset.Ingress)
		if len(spec.Egress) > 0 {
			ds = append(ds, ruleset.Egress)
		}
	}
	for _, t := range spec.PolicyTypes {
		if t == networkingv1.PolicyTypeEgress {
			ds = append(ds, ruleset.Egress)
		} else {
			ds = append(ds, ruleset.Ingress)
		}
	}
	slices.Sort(ds)
	return slices.Compact(ds)
}

// world is what selectors are evaluated against.
type world struct {
	pods       []pod
	namespaces map[string]labels.Set
}

// subjects returns the indexes of the pods that a policy selects.
func (w world) subjects(policy *networkingv1.NetworkPolicy) ([]int, error) {
	selector, err := metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector)
	if err != nil {
		selector = labels.Everything()
	}
	var subjects []int
	for i, p := range w.pods {
		if p.namespace == policy.Namespace && selector.Matches(p.labels) {
			subjects = append(subjects, i)
		}
	}
	return subjects, err
}

// rules returns the allow rules of one direction. Every peer is combined with every group of ports.
func (w world) rules(policy *networkingv1.NetworkPolicy, d ruleset.Direction, subjects []int) ([]ruleset.Rule, error) {
	type rule struct {
		field string
		peers []networkingv1.NetworkPolicyPeer
		ports []networkingv1.NetworkPolicyPort
	}
	var specified []rule
	destinations := w.pods
	if d == ruleset.Egress {
		for i, r := range policy.Spec.Egress {
			specified = append(specified, rule{fmt.Sprintf("spec.egress[%d].to", i), r.To, r.Ports})
		}
	} else {
		for i, r := range policy.Spec.Ingress {
			specified = append(specified, rule{fmt.Sprintf("spec.ingress[%d].from", i), r.From, r.Ports})
		}
		destinations = make([]pod, 0, len(subjects))
		for _, subject := range subjects {
			destinations = append(destinations, w.pods[subject])
		}
	}
	var rules []ruleset.Rule
	var problems []error
	for _, r := range specified {
		peers, err := w.peers(policy.Namespace, r.peers)
		if err != nil {
			problems = append(problems, problem(policy, r.field, err))
		}
		ports := portsOf(r.ports, destinations)
		for _, peer := range peers {
			for _, port := range ports {
				rules = append(rules, ruleset.Rule{Peer: peer, Port: port})
			}
		}
	}
	return rules, errors.Join(problems...)
}
