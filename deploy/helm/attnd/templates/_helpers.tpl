{{/* Names, labels and the parts that two containers share.
     SPDX-License-Identifier: Apache-2.0 */}}
{{- define "attnd.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "attnd.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "attnd.labels" -}}
{{ include "attnd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "attnd.keysSecret" -}}
{{- if .Values.apiKeys.existingSecret }}{{ .Values.apiKeys.existingSecret }}{{ else if .Values.apiKeys.keys }}{{ include "attnd.name" . }}-keys{{ end }}
{{- end }}

{{- define "attnd.tlsSecret" -}}
{{- if .Values.tls.existingSecret }}{{ .Values.tls.existingSecret }}{{ else if .Values.tls.certificate }}{{ include "attnd.name" . }}-tls{{ end }}
{{- end }}

{{/* One option as two arguments. Numbers of values.yaml are floats, and a million must not become 1e+06. */}}
{{- define "attnd.option" -}}
- --{{ .name }}
- {{ if kindIs "float64" .value }}{{ int64 .value | quote }}{{ else }}{{ .value | toString | quote }}{{ end }}
{{- end }}

{{- define "attnd.args" -}}
- --host
- {{ .Values.host | quote }}
- --port
- "8080"
- --metrics-port
- {{ int64 .Values.metrics.port | quote }}
- --drain-timeout
- {{ printf "%ds" (int64 .Values.drainSeconds) }}
{{- if not (hasKey .Values.options "log-format") }}
- --log-format
- json
{{- end }}
{{- range .Values.models }}
- --model
- {{ . | quote }}
{{- end }}
{{- range $name, $value := .Values.options }}
{{- range $item := kindIs "slice" $value | ternary $value (list $value) }}
{{ include "attnd.option" (dict "name" $name "value" $item) }}
{{- end }}
{{- end }}
{{- if include "attnd.keysSecret" . }}
- --api-key-file
- /etc/attnd/keys/api-keys
{{- end }}
{{- if include "attnd.tlsSecret" . }}
- --tls-cert
- /etc/attnd/tls/tls.crt
- --tls-key
- /etc/attnd/tls/tls.key
{{- end }}
{{- end }}

{{- define "attnd.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* What both the container that fetches and the one that serves see of models and secrets; "writes" is true for the one that fetches. */}}
{{- define "attnd.mounts" -}}
{{- $v := .root.Values }}
{{- if ne $v.modelVolume.type "none" }}
- name: models
  mountPath: {{ $v.modelVolume.mountPath }}
  readOnly: true
{{- end }}
{{- if $v.hub.enabled }}
- name: hub
  mountPath: /cache
  {{- if not .writes }}
  readOnly: true
  {{- end }}
{{- end }}
{{- if include "attnd.keysSecret" .root }}
- name: keys
  mountPath: /etc/attnd/keys
  readOnly: true
{{- end }}
{{- if include "attnd.tlsSecret" .root }}
- name: tls
  mountPath: /etc/attnd/tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "attnd.volumes" -}}
{{- with .Values.modelVolume }}
{{- if eq .type "persistentVolumeClaim" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ .claimName }}
    readOnly: true
{{- else if eq .type "hostPath" }}
- name: models
  hostPath:
    path: {{ .path }}
    type: Directory
{{- else if eq .type "emptyDir" }}
- name: models
  emptyDir: {}
{{- end }}
{{- end }}
{{- if .Values.hub.enabled }}
- name: hub
  {{- if eq .Values.hub.cache.type "persistentVolumeClaim" }}
  persistentVolumeClaim:
    claimName: {{ .Values.hub.cache.claimName }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.hub.cache.sizeLimit }}
  {{- end }}
{{- end }}
{{- with include "attnd.keysSecret" . }}
- name: keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with include "attnd.tlsSecret" . }}
- name: tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "attnd.hubEnv" -}}
- name: HF_HOME
  value: /cache
{{- with .Values.hub.endpoint }}
- name: HF_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- end }}
