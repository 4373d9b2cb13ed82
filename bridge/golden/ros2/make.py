"""Writes the messages of this folder with rosbags, which shares no code with kinestream.

    pip install rosbags==0.11.9
    python make.py

The values are those that bridge/src/ros2/golden.rs expects.
"""

import pathlib

import numpy
from rosbags.typesys import Stores, get_typestore

HERE = pathlib.Path(__file__).parent
store = get_typestore(Stores.ROS2_HUMBLE)


def of(name):
    return store.types[name]


def floats(*numbers):
    return numpy.array(numbers, dtype=numpy.float64)


def stamp(seconds, nanoseconds):
    return of("builtin_interfaces/msg/Time")(seconds, nanoseconds)


def header(frame):
    return of("std_msgs/msg/Header")(stamp(1700000000, 123456789), frame)


def vector(x, y, z):
    return of("geometry_msgs/msg/Vector3")(x, y, z)


def quaternion():
    return of("geometry_msgs/msg/Quaternion")(0.0, 0.6, 0.0, 0.8)


point = of("geometry_msgs/msg/Point")(1.0, -2.0, 0.5)
duration = of("builtin_interfaces/msg/Duration")
trajectory_point = of("trajectory_msgs/msg/JointTrajectoryPoint")
dimension = of("std_msgs/msg/MultiArrayDimension")
transform = of("geometry_msgs/msg/TransformStamped")(
    header("map"), "hips", of("geometry_msgs/msg/Transform")(vector(1.0, 2.0, 3.0), quaternion())
)

MESSAGES = {
    "std_msgs/msg/String": of("std_msgs/msg/String")("grüß dich"),
    "std_msgs/msg/Float64MultiArray": of("std_msgs/msg/Float64MultiArray")(
        of("std_msgs/msg/MultiArrayLayout")([dimension("row", 2, 6), dimension("column", 3, 3)], 0),
        floats(1, 2, 3, 4, 5, 6.5),
    ),
    "sensor_msgs/msg/JointState": of("sensor_msgs/msg/JointState")(
        header("base"), ["one", "", "elbow"], floats(0.1, -0.2, 0.3), floats(), floats(9)
    ),
    "trajectory_msgs/msg/JointTrajectory": of("trajectory_msgs/msg/JointTrajectory")(
        header(""),
        ["a", "bcd"],
        [
            trajectory_point(floats(1, 2), floats(), floats(), floats(), duration(0, 100000000)),
            trajectory_point(floats(3, 4), floats(5, 6), floats(), floats(), duration(-1, 5)),
        ],
    ),
    "geometry_msgs/msg/Twist": of("geometry_msgs/msg/Twist")(vector(1.5, 0.0, -1.0), vector(0.0, 0.25, 0.0)),
    "geometry_msgs/msg/PoseStamped": of("geometry_msgs/msg/PoseStamped")(
        header("world"), of("geometry_msgs/msg/Pose")(point, quaternion())
    ),
    "tf2_msgs/msg/TFMessage": of("tf2_msgs/msg/TFMessage")([transform, transform]),
    "sensor_msgs/msg/Image": of("sensor_msgs/msg/Image")(
        header("camera"), 2, 3, "rgb8", 0, 9, numpy.arange(18, dtype=numpy.uint8)
    ),
    "sensor_msgs/msg/CompressedImage": of("sensor_msgs/msg/CompressedImage")(
        header("camera"), "jpeg", numpy.array([255, 216, 255], dtype=numpy.uint8)
    ),
}

for name, message in MESSAGES.items():
    package, _, kind = name.split("/")
    (HERE / f"{package}-{kind}.cdr").write_bytes(bytes(store.serialize_cdr(message, name)))
hashes = "".join(f"{name} {store.hash_rihs01(name)}\n" for name in MESSAGES)
(HERE / "hashes.txt").write_text(hashes)
