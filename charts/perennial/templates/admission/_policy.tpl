{{/*
Refuses writes of internal kinds by anybody but one ServiceAccount, the garbage collector, and the controller that
empties a namespace: dict "root" . "policy" NAME "writer" SERVICEACCOUNT "resources" LIST "message" TEXT
*/}}
{{- define "perennial.writerPolicy" -}}
{{- $writers := list
      (include "perennial.user" (dict "root" .root "name" .writer))
      "system:serviceaccount:kube-system:generic-garbage-collector"
      "system:serviceaccount:kube-system:namespace-controller"
      "system:kube-controller-manager" }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ .policy }}
  labels: {{- include "perennial.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [perennial.dev]
        apiVersions: ["*"]
        operations: [CREATE, UPDATE, DELETE]
        resources: {{- toYaml .resources | nindent 10 }}
  validations:
    - expression: request.userInfo.username in {{ concat $writers .root.Values.admission.extraWriters | toJson }}
      message: {{ .message | quote }}
      reason: Forbidden
{{ include "perennial.policyBinding" . }}
{{- end }}

{{/* Binds a policy of the same name in the whole cluster: dict "root" . "policy" NAME */}}
{{- define "perennial.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .policy }}
  labels: {{- include "perennial.labels" (dict "root" .root "component" "admission") | nindent 4 }}
spec:
  policyName: {{ .policy }}
  validationActions: [Deny]
{{- end }}
