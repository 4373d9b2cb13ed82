# The arrow keys steer, and the camera follows.
extends Spatial

const SPEED = 1.4

onready var character = $Character
onready var camera = $Camera


func _process(_delta):
	# Seen from behind a character that faces +Z, its left (+X) is on the left.
	var way = Vector2(
		Input.get_action_strength("ui_left") - Input.get_action_strength("ui_right"),
		Input.get_action_strength("ui_up") - Input.get_action_strength("ui_down")
	)
	if way != Vector2():
		character.steer(SPEED * way.clamped(1.0))
	if not character.pose.empty():
		var at = character.pose.root.position
		var target = Vector3(at[0], 1.0, at[2])
		camera.look_at_from_position(target + Vector3(0, 0.8, -4), target, Vector3.UP)
