// Command checks judges the manifests of this repository without a cluster: the Helm chart with several sets of values,
// the kustomize base, the samples, and the children that the operator renders.
//
// Every check comes with a negative control, the same judgement on a manifest that was broken on purpose, so that a
// check which stopped biting fails too.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A check is a sentence that holds, and a broken input for which it must not.
type check struct {
	// sentence says what holds.
	sentence string
	// run fails when it does not hold.
	run func() error
	// broken says how the control's input was broken.
	broken string
	// control runs the same judgement on that input. The check fails unless it returns an error.
	control func() error
}

func main() {
	bin := flag.String("bin", "", "directory that holds helm, kustomize, kubeconform and kube-score (default: ask sallyport-cluster)")
	flag.Parse()
	if err := run(*bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(bin string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	tools := &tools{root: root, bin: bin}
	subjects, err := gather(tools)
	if err != nil {
		return err
	}
	checks := []check{lintCheck(tools), refusedValuesCheck(tools)}
	checks = append(checks, schemaChecks(tools, subjects)...)
	checks = append(checks, nativeChecks(tools, subjects)...)
	checks = append(checks, scoreCheck(tools, subjects), compareCheck(subjects), gitopsCheck(tools))

	failed := 0
	for _, c := range checks {
		start := time.Now()
		err := c.run()
		if err == nil && c.control() == nil {
			err = fmt.Errorf("the negative control passed, so this check proves nothing: %s", c.broken)
		}
		if err != nil {
			failed++
			fmt.Printf("FAIL  %s\n%s\n", c.sentence, indent(err.Error()))
			continue
		}
		fmt.Printf("ok    %s; not with %s (%.1fs)\n", c.sentence, c.broken, time.Since(start).Seconds())
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(checks))
	}
	return nil
}

func indent(text string) string {
	return "      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

// forEach judges every subject and joins what is wrong, each with its subject's name.
func forEach(subjects []subject, judge func(subject) error) error {
	var all []error
	for _, s := range subjects {
		if err := judge(s); err != nil {
			all = append(all, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	return errors.Join(all...)
}
