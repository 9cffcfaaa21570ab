{{/* Name of all objects. */}}
{{- define "sallyport.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/*
The one label that the operator's pods are selected by. Not app.kubernetes.io/instance: GitOps tools may rewrite it.
*/}}
{{- define "sallyport.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
{{- end }}

{{/* Labels of the operator's pods: nothing that changes with the chart alone, so that such an upgrade rolls out nothing. */}}
{{- define "sallyport.podLabels" -}}
{{ include "sallyport.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: sallyport
{{- end }}

{{- define "sallyport.labels" -}}
{{ include "sallyport.podLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Reference of an image; call with (dict "image" .Values.image "value" "image"). Only the operator's may have a tag. */}}
{{- define "sallyport.image" -}}
{{- $repository := required (printf "%s.repository is missing: there is no default registry yet. Build and push the images, then set image.repository and image.digest, and the same under sidecar and egress, as in --set image.repository=registry.example/sallyport/operator --set image.digest=sha256:..." .value) .image.repository -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else if hasKey .image "tag" -}}
{{- printf "%s:%s" $repository (required (printf "%s.digest is missing: set it to the image's sha256:... digest, or set %s.tag if the image cannot be pinned" .value .value) .image.tag) -}}
{{- else -}}
{{- fail (printf "%s.digest is missing: set it to the image's sha256:... digest; endpoints run pinned images only" .value) -}}
{{- end -}}
{{- end }}

{{/*
Rules of one of the generated files, as a YAML list; call with (dict "files" .Files "path" "files/rbac-own.yaml").
*/}}
{{- define "sallyport.rules" -}}
{{- $text := .files.Get .path -}}
{{- if not $text -}}
{{- fail (printf "%s is missing from the chart: run `cargo gen write`" .path) -}}
{{- end -}}
{{- $text | trim -}}
{{- end }}

{{/* What stays in the cluster when the release is uninstalled. */}}
{{- define "sallyport.keep" -}}
{{- if .Values.crds.keep -}}
helm.sh/resource-policy: keep
{{- end -}}
{{- end }}

{{/* Whether ClusterNetworkPolicies are installed: "true", or empty. */}}
{{- define "sallyport.hasFloor" -}}
{{- $mode := .Values.nativePolicies.clusterNetworkPolicy -}}
{{- $served := .Capabilities.APIVersions.Has "policy.networking.k8s.io/v1alpha2/ClusterNetworkPolicy" -}}
{{- if or (eq $mode "Always") (and (eq $mode "Auto") $served) -}}
true
{{- end -}}
{{- end }}
