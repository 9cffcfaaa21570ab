// Package watch keeps a copy of the objects that policies are made of.
package watch

import (
	"context"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1 "k8s.io/client-go/listers/core/v1"
	networkingv1 "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"

	"sallyport.dev/e2e/cluster/policy-agent/internal/cnicache"
	"sallyport.dev/e2e/cluster/policy-agent/internal/policy"
)

// Watcher holds the pods, namespaces and policies of all namespaces, and the addresses of this node's pods.
type Watcher struct {
	pods       corev1.PodLister
	namespaces corev1.NamespaceLister
	policies   networkingv1.NetworkPolicyLister
	cniCache   string
	changes    chan struct{}
}

// Start returns once the copy is complete. It is kept up to date until the context ends. cniCache is the folder of CNI
// results; without it, addresses are known when the API server has them.
func Start(ctx context.Context, client kubernetes.Interface, cniCache string) (*Watcher, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(withoutManagedFields))
	pods := factory.Core().V1().Pods()
	namespaces := factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	w := &Watcher{
		pods: pods.Lister(), namespaces: namespaces.Lister(), policies: policies.Lister(),
		cniCache: cniCache, changes: make(chan struct{}, 1),
	}
	if cniCache != "" {
		if err := cnicache.Watch(ctx, cniCache, w.changed); err != nil {
			return nil, err
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.changed() },
		UpdateFunc: func(any, any) { w.changed() },
		DeleteFunc: func(any) { w.changed() },
	}
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return nil, fmt.Errorf("watch the API server: %w", err)
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, errors.Join(fmt.Errorf("stopped before the first list of %s was complete", kind), ctx.Err())
		}
	}
	return w, nil
}

// Changes receives after any number of changes; one value stands for all since the last.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Snapshot returns the objects as they are known now. They must not be written to.
func (w *Watcher) Snapshot() (policy.Snapshot, error) {
	pods, errPods := w.pods.List(labels.Everything())
	namespaces, errNamespaces := w.namespaces.List(labels.Everything())
	policies, errPolicies := w.policies.List(labels.Everything())
	snapshot := policy.Snapshot{Pods: pods, Namespaces: namespaces, Policies: policies}
	var errAddrs error
	if w.cniCache != "" {
		snapshot.Addrs, errAddrs = cnicache.Read(w.cniCache)
	}
	return snapshot, errors.Join(errPods, errNamespaces, errPolicies, errAddrs)
}

func (w *Watcher) changed() {
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

func withoutManagedFields(object any) (any, error) {
	if meta, ok := object.(metav1.Object); ok {
		meta.SetManagedFields(nil)
	}
	return object, nil
}
