package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// exceptions are findings of kube-score that are right about the manifest and wrong about the product.
var exceptions = []struct {
	// object matches the subject's name, a space, and the object's kind and name.
	object *regexp.Regexp
	check  string
	reason string
}{
	{regexp.MustCompile(`^(kubectl mcpe render|operator/render/tests/golden/)`), "deployment-replicas", "users choose: sessions of the legacy era live in one pod"},
	{regexp.MustCompile(`^chart with e2e/checks/values/least\.yaml `), "pod-networkpolicy", "these values turn the NetworkPolicy off"},
	{regexp.MustCompile(`/sallyport-fence-egress$`), "networkpolicy-targets-pod", "the fence of egress gateways is there before the first of them"},
}

// optionalTests are kube-score's checks that are off by default and hold here.
var optionalTests = []string{
	"container-seccomp-profile",
	"container-memory-requests-equal-limits",
	"container-ephemeral-storage-request-equals-limit",
	"container-ports-check",
}

// scored is what kube-score prints of one object.
type scored struct {
	Name   string `json:"object_name"`
	Checks []struct {
		Check struct {
			ID string `json:"id"`
		} `json:"check"`
		Grade    int  `json:"grade"`
		Skipped  bool `json:"skipped"`
		Comments []struct {
			Path        string `json:"path"`
			Summary     string `json:"summary"`
			Description string `json:"description"`
		} `json:"comments"`
	} `json:"checks"`
}

// passingGrade is kube-score's grade of a check without a finding.
const passingGrade = 10

func scoreCheck(t *tools, all subjects) check {
	judged := append(append([]subject{}, all.charts...), all.children...)
	return check{
		sentence: fmt.Sprintf("kube-score finds nothing in chart and children but %d documented exceptions", len(exceptions)),
		run:      func() error { return forEach(judged, func(s subject) error { return score(t, s) }) },
		broken:   "limits removed",
		control: func() error {
			spoiled, err := broken(all.charts[0].objects, "Deployment", func(o object) {
				container := o.fields("spec", "template", "spec")["containers"].([]any)[0].(map[string]any)
				delete(container["resources"].(map[string]any), "limits")
			})
			if err != nil {
				return nil
			}
			return score(t, subject{"control", spoiled})
		},
	}
}

func score(t *tools, s subject) error {
	stream, err := encode(s.objects)
	if err != nil {
		return err
	}
	args := []string{"score", "-", "--output-format", "json", "--kubernetes-version", "v1.33"}
	for _, test := range optionalTests {
		args = append(args, "--enable-optional-test", test)
	}
	// kube-score exits 1 when it finds something: what it printed counts.
	out, runErr := t.run(stream, "kube-score", args...)
	var objects []scored
	if err := json.Unmarshal(out, &objects); err != nil {
		return errors.Join(fmt.Errorf("kube-score printed no JSON: %w", err), runErr)
	}
	if len(objects) == 0 {
		return errors.New("kube-score judged no object")
	}
	var findings []error
	for _, o := range objects {
		for _, c := range o.Checks {
			if c.Skipped || c.Grade >= passingGrade || excepted(s.name+" "+o.Name, c.Check.ID) {
				continue
			}
			var comments []string
			for _, comment := range c.Comments {
				comments = append(comments, strings.TrimSpace(comment.Path+" "+comment.Summary))
			}
			findings = append(findings, fmt.Errorf("%s: %s: %s", o.Name, c.Check.ID, strings.Join(comments, "; ")))
		}
	}
	return errors.Join(findings...)
}

func excepted(object, check string) bool {
	for _, e := range exceptions {
		if e.check == check && e.object.MatchString(object) {
			return true
		}
	}
	return false
}
