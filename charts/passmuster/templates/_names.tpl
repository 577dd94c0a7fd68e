{{/* Labels of every object of the chart. */}}
{{- define "passmuster.labels" -}}
app.kubernetes.io/name: passmuster
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels by which the operator's pods are selected; a Deployment's selector never changes. */}}
{{- define "passmuster.selector" -}}
app.kubernetes.io/name: passmuster
app.kubernetes.io/component: operator
{{- end }}

{{- define "passmuster.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{/*
Documents of a generated manifest, as the chart installs them.
Arguments: root; file below manifests/; kinds (all where empty); keep: outlives the release; separate: roles that are not
aggregated to those of Kubernetes.
*/}}
{{- define "passmuster.shipped" -}}
{{- $kinds := .kinds | default list }}
{{- $labels := include "passmuster.labels" .root | fromYaml }}
{{- range $text := splitList "\n---\n" (.root.Files.Get (printf "manifests/%s" .file)) }}
{{- $made := fromYaml $text }}
{{- if and $made.kind (or (not $kinds) (has $made.kind $kinds)) }}
{{- $_ := set $made.metadata "labels" (merge (dict) ($made.metadata.labels | default dict) $labels) }}
{{- if $.keep }}
{{- $kept := dict "helm.sh/resource-policy" "keep" }}
{{- $_ := set $made.metadata "annotations" (merge $kept ($made.metadata.annotations | default dict)) }}
{{- end }}
{{- if $.separate }}
{{- range $label, $_ := $made.metadata.labels }}
{{- if hasPrefix "rbac.authorization.k8s.io/aggregate-to-" $label }}{{ $_ := unset $made.metadata.labels $label }}{{ end }}
{{- end }}
{{- end }}
---
{{ toYaml $made }}
{{ end }}
{{- end }}
{{- end }}
