package main

import (
	"strings"
	"testing"
)

func TestEachObjectOfAStreamGetsItsOwnLine(t *testing.T) {
	const head = "apiVersion: sallyport.dev/v1alpha1\nkind: McpEndpoint\n"
	in := strings.Join([]string{
		head + "metadata: {name: new, generation: 1}\nstatus: {observedGeneration: -1}",
		head + "metadata: {name: up, generation: 2}\nstatus: {observedGeneration: 2, conditions: [{type: Ready, status: \"True\"}]}",
		head + "metadata: {name: bad, generation: 1}\nstatus: {observedGeneration: 1, conditions: [{type: Stalled, status: \"True\", message: \"fix\\nthe spec\"}]}",
		head + "metadata: {name: going, generation: 1, deletionTimestamp: \"2026-01-01T00:00:00Z\"}",
		`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"in-a-list"}}]}`,
	}, "\n---\n")
	var out strings.Builder
	if err := judge(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	want := `McpEndpoint/new: InProgress: McpEndpoint generation is 1, but latest observed generation is -1
McpEndpoint/up: Current: Resource is Ready
McpEndpoint/bad: Failed: fix the spec
McpEndpoint/going: Terminating: Resource scheduled for deletion
ConfigMap/in-a-list: Current: Resource is always ready
`
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", out.String(), want)
	}
}

func TestADocumentThatIsNoObjectIsRefused(t *testing.T) {
	err := judge(strings.NewReader("hello: world"), &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "no whole Kubernetes object") {
		t.Errorf("got %v", err)
	}
}
