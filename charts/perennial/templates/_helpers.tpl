{{/* Labels of an object of one component: dict "root" . "component" "gateway" */}}
{{- define "perennial.labels" -}}
{{ include "perennial.selector" . }}
app.kubernetes.io/part-of: perennial
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "perennial.selector" -}}
app.kubernetes.io/name: perennial
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Image and pull policy: dict "root" . "name" "operator" */}}
{{- define "perennial.image" -}}
image: {{ include "perennial.imageName" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}

{{- define "perennial.imageName" -}}
{{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag }}
{{- end }}

{{/* What every pod has: dict "root" . "port" 8080 */}}
{{- define "perennial.podAnnotations" -}}
perennial.dev/image-revision: {{ .root.Values.image.revision | quote }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
{{- end }}

{{- define "perennial.podSpec" -}}
{{- /* Off, since a Service perennial-observer would set PERENNIAL_OBSERVER_PORT, the name of a setting of ours. */ -}}
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "perennial.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment from a map of settings: PERENNIAL_<NAME>. */}}
{{- define "perennial.settings" -}}
{{- range $name, $value := . }}
- name: PERENNIAL_{{ upper $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "perennial.podName" -}}
- name: PERENNIAL_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- end }}

{{- define "perennial.gatewayHost" -}}
perennial-gateway.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{- define "perennial.observerHost" -}}
perennial-observer.{{ .Release.Namespace }}.svc.{{ .Values.clusterDomain }}
{{- end }}

{{/* The user that a ServiceAccount of the installation is: dict "root" . "name" "perennial-operator" */}}
{{- define "perennial.user" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ .name }}
{{- end }}

{{- define "perennial.runtimeImage" -}}
image: {{ include "perennial.imageName" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}
