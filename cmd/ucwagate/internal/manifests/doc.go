// Package manifests holds the tests of configs/kubernetes and configs/helm: the
// kustomizations are built and the chart is rendered by the libraries of kustomize
// and Helm themselves; every object is decoded strictly into the types of the
// Kubernetes API, held against rules, and its configuration is loaded by package
// config as the pod would load it.
//
// Each rule is also shown manifests that break it, so that none of them passes
// everything.
//
// It must never contain anything but tests, nor be imported: what it needs is far
// larger than the gateway.
package manifests
