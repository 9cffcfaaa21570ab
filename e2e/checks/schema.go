package main

import (
	"fmt"
	"path/filepath"
)

// kubernetesVersions are the oldest and the newest supported Kubernetes.
var kubernetesVersions = []string{"1.33.0", "1.36.0"}

func schemaChecks(t *tools, all subjects) []check {
	judged := append(append([]subject{}, all.charts...), all.base, all.floor, all.samples)
	judged = append(judged, all.children...)
	var checks []check
	for _, version := range kubernetesVersions {
		checks = append(checks, check{
			sentence: fmt.Sprintf("kubeconform -strict accepts %d sets of manifests for Kubernetes %s", len(judged), version),
			run: func() error {
				return forEach(judged, func(s subject) error { return conform(t, version, s, all.crds) })
			},
			broken: "a misspelt field",
			control: func() error {
				spoiled, err := broken(all.charts[0].objects, "Deployment", func(o object) { o.fields("spec")["replica"] = 2 })
				if err != nil {
					return nil
				}
				return conform(t, version, subject{"control", spoiled}, all.crds)
			},
		})
	}
	return append(checks, check{
		sentence: "the samples have no field that the CRD does not know",
		run:      func() error { return conform(t, kubernetesVersions[0], all.samples, all.crds) },
		broken:   "a misspelt field",
		control: func() error {
			spoiled, err := broken(all.samples.objects, "McpEndpoint", func(o object) { o.fields("spec", "server")["imgae"] = "x" })
			if err != nil {
				return nil
			}
			return conform(t, kubernetesVersions[0], subject{"control", spoiled}, all.crds)
		},
	})
}

// conform judges objects by the schemas of a Kubernetes version and of our CRDs.
func conform(t *tools, version string, s subject, crds subject) error {
	dir, err := schemas(version, s.objects, crds.objects)
	if err != nil {
		return err
	}
	stream, err := encode(s.objects)
	if err != nil {
		return err
	}
	_, err = t.run(stream, "kubeconform", "-strict", "-kubernetes-version", version, "-output", "text",
		"-schema-location", filepath.Join(dir, "{{.ResourceKind}}{{.KindSuffix}}.json"), "-")
	return err
}
