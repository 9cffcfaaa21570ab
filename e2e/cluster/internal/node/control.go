package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"sallyport.dev/e2e/cluster/internal/cluster"
	"sallyport.dev/e2e/cluster/internal/outside"
)

// Status is what a cluster's supervisor tells about itself.
type Status struct {
	Components []ServiceStatus `json:"components"`
	Hosts      []outside.Host  `json:"hosts"`
}

// control answers the tool's other processes.
func control(ctx context.Context, v *supervisor, w *world) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(response http.ResponseWriter, _ *http.Request) {
		reply(response, Status{Components: v.statuses(), Hosts: w.list()}, nil)
	})
	mux.HandleFunc("POST /hosts", func(response http.ResponseWriter, request *http.Request) {
		var wanted outside.Host
		if err := json.NewDecoder(io.LimitReader(request.Body, 1<<20)).Decode(&wanted); err != nil {
			reply(response, nil, fmt.Errorf("read the wanted host: %w", err))
			return
		}
		// The host outlives the request: it lives as long as the cluster.
		h, err := w.add(ctx, wanted)
		reply(response, h, err)
	})
	mux.HandleFunc("DELETE /hosts/{name}", func(response http.ResponseWriter, request *http.Request) {
		reply(response, struct{}{}, w.remove(request.PathValue("name")))
	})
	return mux
}

func reply(response http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(response, err.Error(), http.StatusConflict)
		return
	}
	response.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(response).Encode(value)
}

// serveControl answers on the cluster's control socket until ctx ends.
func serveControl(ctx context.Context, path string, handler http.Handler) error {
	_ = os.Remove(path)
	listener, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("open the control socket (a path of more than 107 bytes is too long: %d): %w", len(path), err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Client speaks to the supervisor of a running cluster.
type Client struct {
	name string
	http *http.Client
}

// NewClient makes a client of the cluster of that name.
func NewClient(name string) Client {
	return Client{name: name, http: &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", cluster.ControlSocket(name))
			},
			DisableKeepAlives: true,
		},
	}}
}

// Status asks how the cluster's components are.
func (c Client) Status(ctx context.Context) (Status, error) {
	var status Status
	return status, c.do(ctx, http.MethodGet, "/status", nil, &status)
}

// AddHost starts a test host in the outside world and returns it with its address.
func (c Client) AddHost(ctx context.Context, wanted outside.Host) (outside.Host, error) {
	var h outside.Host
	return h, c.do(ctx, http.MethodPost, "/hosts", wanted, &h)
}

// RemoveHost ends a test host.
func (c Client) RemoveHost(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/hosts/"+name, nil, nil)
}

func (c Client) do(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("describe the request: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://cluster"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make the request: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if _, missing := cluster.Load(c.name); missing != nil {
			return missing
		}
		return fmt.Errorf("cluster %q does not answer (see: sallyport-cluster status --name %s): %w", c.name, c.name, err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the answer of cluster %q: %w", c.name, err)
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(strings.TrimSpace(string(raw)))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("understand the answer of cluster %q: %w", c.name, err)
	}
	return nil
}
