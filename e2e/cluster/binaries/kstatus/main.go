// Command kstatus reads a stream of Kubernetes objects (YAML documents or JSON, lists included) on standard input and
// prints what the upstream kstatus library computes for each, one line an object:
//
//	McpEndpoint/everything: InProgress: waiting for the server
//
// It exits 0 when every object could be judged, whatever the verdicts are, and 1 when the input is not Kubernetes objects.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	out := bufio.NewWriter(os.Stdout)
	err := judge(os.Stdin, out)
	if err = errors.Join(err, out.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

// judge writes one line for each object in the stream, and stops at the first that is no Kubernetes object.
func judge(in io.Reader, out io.Writer) error {
	decoder := yaml.NewYAMLOrJSONDecoder(in, 4096)
	for n := 1; ; n++ {
		var document runtime.RawExtension
		switch err := decoder.Decode(&document); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("document %d is neither YAML nor JSON: %w", n, err)
		case len(document.Raw) == 0 || string(document.Raw) == "null":
			continue
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(document.Raw); err != nil {
			return fmt.Errorf("document %d is no whole Kubernetes object, as `kubectl get -o yaml` prints them: %w", n, err)
		}
		if err := judgeObject(object, out); err != nil {
			return fmt.Errorf("document %d: %w", n, err)
		}
	}
}

// judgeObject writes the line of one object, or those of a list's items.
func judgeObject(object *unstructured.Unstructured, out io.Writer) error {
	if object.IsList() {
		return object.EachListItem(func(item runtime.Object) error {
			return judgeObject(item.(*unstructured.Unstructured), out)
		})
	}
	result, err := status.Compute(object)
	if err != nil {
		return fmt.Errorf("judge %s/%s: %w", object.GetKind(), object.GetName(), err)
	}
	message := strings.Join(strings.Fields(result.Message), " ")
	_, err = fmt.Fprintf(out, "%s/%s: %s: %s\n", object.GetKind(), object.GetName(), result.Status, message)
	return err
}
