//! Groups of patches that look alike.

use super::check_rows;
use crate::tasks::TaskError;

/// Lloyd's rounds settle long before.
const MOST_ROUNDS: usize = 300;

/// Which group each row belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// A number for every row; group 0 has most rows.
    pub of_row: Vec<usize>,
    /// Rows of each group, falling.
    pub sizes: Vec<usize>,
}

/// Lloyd's k-means on `features`, `[tokens, width]`. Without chance: it starts from the row farthest from the mean, then always from the row that is
/// farthest from all before it (Gonzalez 1985), so that a picture always has the same groups. Fewer than `count` where rows are equal.
///
/// # Errors
/// No rows, or a width of zero.
pub fn kmeans(features: &[f32], width: usize, count: usize) -> Result<Clusters, TaskError> {
    check_rows(features, width)?;
    let rows: Vec<&[f32]> = features.chunks_exact(width).collect();
    let mut centers = spread(&rows, count);
    let mut of_row = vec![usize::MAX; rows.len()];
    for _ in 0..MOST_ROUNDS {
        let nearest: Vec<usize> = rows.iter().map(|row| nearest(row, &centers)).collect();
        if nearest == of_row {
            break;
        }
        of_row = nearest;
        for (group, center) in centers.iter_mut().enumerate() {
            let members = rows.iter().zip(&of_row).filter(|(_, own)| **own == group).map(|(row, _)| *row);
            // A group that lost all its rows keeps its centre.
            if let Some(mean) = mean(members, width) {
                *center = mean;
            }
        }
    }
    Ok(by_size(&of_row, centers.len()))
}

/// `count` rows that are far from each other.
fn spread(rows: &[&[f32]], count: usize) -> Vec<Vec<f64>> {
    let as_center = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
    let Some(mean) = rows.first().and_then(|first| mean(rows.iter().copied(), first.len())) else { return Vec::new() };
    let mut distances: Vec<f64> = rows.iter().map(|row| distance(row, &mean)).collect();
    let mut centers: Vec<Vec<f64>> = Vec::with_capacity(count);
    while centers.len() < count {
        let farthest = (0..rows.len()).fold(0, |best, i| if distances[i] > distances[best] { i } else { best });
        // Only the first may be where the mean is: further centres on top of others would stay empty.
        if !centers.is_empty() && distances[farthest] == 0.0 {
            break;
        }
        let center = as_center(rows[farthest]);
        for (known, row) in distances.iter_mut().zip(rows) {
            let own = distance(row, &center);
            *known = if centers.is_empty() { own } else { known.min(own) };
        }
        centers.push(center);
    }
    centers
}

fn nearest(row: &[f32], centers: &[Vec<f64>]) -> usize {
    let distances: Vec<f64> = centers.iter().map(|center| distance(row, center)).collect();
    (0..distances.len()).fold(0, |best, i| if distances[i] < distances[best] { i } else { best })
}

/// Squared.
fn distance(row: &[f32], center: &[f64]) -> f64 {
    row.iter().zip(center).map(|(&x, c)| (f64::from(x) - c).powi(2)).sum()
}

fn mean<'a>(rows: impl Iterator<Item = &'a [f32]>, width: usize) -> Option<Vec<f64>> {
    let (mut sum, mut count) = (vec![0.0; width], 0);
    for row in rows {
        sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        count += 1;
    }
    sum.iter_mut().for_each(|value| *value /= f64::from(count));
    (count > 0).then_some(sum)
}

/// Numbers groups by falling size; of equal ones, the one whose row comes first.
fn by_size(of_row: &[usize], groups: usize) -> Clusters {
    let mut order: Vec<(usize, usize, usize)> = (0..groups)
        .filter_map(|group| {
            let first = of_row.iter().position(|&own| own == group)?;
            Some((of_row.iter().filter(|own| **own == group).count(), first, group))
        })
        .collect();
    order.sort_by_key(|&(size, first, _)| (std::cmp::Reverse(size), first));
    let number = |group: usize| order.iter().position(|&(_, _, old)| old == group).unwrap_or_default();
    Clusters { of_row: of_row.iter().map(|&group| number(group)).collect(), sizes: order.iter().map(|&(size, _, _)| size).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_groups_are_found_and_numbered_by_size() {
        let features = [0.0, 0.0, 9.0, 9.0, 9.1, 9.0, 0.1, 0.0, 9.0, 9.2, -8.0, 9.0];
        let clusters = kmeans(&features, 2, 3).unwrap();
        assert_eq!(clusters, Clusters { of_row: vec![1, 0, 0, 1, 0, 2], sizes: vec![3, 2, 1] });
    }

    #[test]
    fn equal_rows_are_one_group() {
        assert_eq!(kmeans(&[1.0, 1.0, 1.0], 1, 5).unwrap(), Clusters { of_row: vec![0, 0, 0], sizes: vec![3] });
        assert_eq!(kmeans(&[1.0, 2.0, 1.0], 1, 5).unwrap().sizes, [2, 1]);
    }
}
