package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/cel-go/cel"
	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

// state is a status of an McpEndpoint with what the GitOps tools have to make of it.
type state struct {
	Name   string `json:"name"`
	Argo   string `json:"argo"`
	Flux   string `json:"flux"`
	Object object `json:"object"`
}

// gitopsCheck runs Argo CD's script by the Lua machine that Argo CD has, and Flux's expressions by its CEL library.
func gitopsCheck(t *tools) check {
	judge := func(spoil func([]state)) error {
		var states []state
		if err := readYAML(filepath.Join(t.root, "e2e/checks/states.yaml"), &states); err != nil {
			return err
		}
		spoil(states)
		script, err := os.ReadFile(filepath.Join(t.root, "config/gitops/argocd/health.lua"))
		if err != nil {
			return err
		}
		expressions, err := readFluxExpressions(filepath.Join(t.root, "config/gitops/flux/kustomization.yaml"))
		if err != nil {
			return err
		}
		var all []error
		for _, s := range states {
			all = append(all, expect("Argo CD", s.Name, s.Argo, func() (string, error) { return argoHealth(string(script), s.Object) }))
			all = append(all, expect("Flux", s.Name, s.Flux, func() (string, error) { return expressions.judge(s.Object) }))
		}
		return errors.Join(all...)
	}
	return check{
		sentence: "Argo CD's health script and Flux's expressions judge each state of an endpoint as kstatus does",
		run:      func() error { return judge(func([]state) {}) },
		broken:   "a stalled endpoint taken for a healthy one",
		control:  func() error { return judge(func(states []state) { states[3].Argo = "Healthy" }) },
	}
}

func expect(tool, name, want string, judge func() (string, error)) error {
	got, err := judge()
	if err != nil {
		return fmt.Errorf("%s: %s: %w", tool, name, err)
	}
	if got != want {
		return fmt.Errorf("%s: %s: %s instead of %s", tool, name, got, want)
	}
	return nil
}

func argoHealth(script string, o object) (string, error) {
	machine := lua.NewState()
	defer machine.Close()
	machine.SetGlobal("obj", luaValue(machine, map[string]any(o)))
	if err := machine.DoString(script); err != nil {
		return "", err
	}
	health, ok := machine.Get(-1).(*lua.LTable)
	if !ok {
		return "", errors.New("the script returned no table")
	}
	if health.RawGetString("message").Type() != lua.LTString {
		return "", errors.New("the script returned no message")
	}
	return health.RawGetString("status").String(), nil
}

func luaValue(machine *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case map[string]any:
		table := machine.NewTable()
		for key, field := range value {
			table.RawSetString(key, luaValue(machine, field))
		}
		return table
	case []any:
		table := machine.NewTable()
		for _, item := range value {
			table.Append(luaValue(machine, item))
		}
		return table
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case bool:
		return lua.LBool(value)
	default:
		return lua.LNil
	}
}

// fluxExpressions are one entry of a Flux Kustomization's healthCheckExprs.
type fluxExpressions struct {
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
	Current    string `json:"current"`
}

func readFluxExpressions(file string) (fluxExpressions, error) {
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []fluxExpressions `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	if err := readYAML(file, &kustomization); err != nil {
		return fluxExpressions{}, err
	}
	if len(kustomization.Spec.HealthCheckExprs) != 1 {
		return fluxExpressions{}, fmt.Errorf("%s: expected one entry of healthCheckExprs", file)
	}
	return kustomization.Spec.HealthCheckExprs[0], nil
}

// judge follows Flux: the observed generation first, then the first expression of inProgress, failed and current that
// holds; in progress if none does.
func (e fluxExpressions) judge(o object) (string, error) {
	if o.fields("status")["observedGeneration"] != o.fields("metadata")["generation"] {
		return "inProgress", nil
	}
	for _, candidate := range []struct{ name, expression string }{
		{"inProgress", e.InProgress}, {"failed", e.Failed}, {"current", e.Current},
	} {
		holds, err := evaluate(candidate.expression, o)
		if err != nil {
			return "", fmt.Errorf("%s: %w", candidate.name, err)
		}
		if holds {
			return candidate.name, nil
		}
	}
	return "inProgress", nil
}

func evaluate(expression string, o object) (bool, error) {
	environment, err := cel.NewEnv(cel.Variable("metadata", cel.DynType), cel.Variable("status", cel.DynType))
	if err != nil {
		return false, err
	}
	checked, issues := environment.Compile(expression)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(checked)
	if err != nil {
		return false, err
	}
	result, _, err := program.Eval(map[string]any(o))
	if err != nil {
		return false, err
	}
	return result.Value() == true, nil
}

func readYAML(file string, into any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}
