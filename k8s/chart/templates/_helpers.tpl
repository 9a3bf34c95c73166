{{- define "simmer.labels" -}}
app.kubernetes.io/name: simmer
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: simmer
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "simmer.selector" -}}
app.kubernetes.io/name: simmer
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
