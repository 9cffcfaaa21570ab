package cluster

import (
	"fmt"
	"time"
)

// PolicyMode is what the policy agent is told: PolicyOn, PolicyOff, or PolicyLag of a duration.
type PolicyMode string

const (
	// PolicyOn enforces NetworkPolicies at once.
	PolicyOn PolicyMode = "on"
	// PolicyOff enforces nothing, as a cluster does whose network plugin ignores NetworkPolicies.
	PolicyOff PolicyMode = "off"
)

// PolicyLag enforces NetworkPolicies that late, as some network plugins do for new pods.
func PolicyLag(lag time.Duration) (PolicyMode, error) {
	if lag <= 0 {
		return "", fmt.Errorf("lag %s: use a positive duration such as 5s, or turn the lag off with: policy on", lag)
	}
	return PolicyMode("lag " + lag.String()), nil
}
